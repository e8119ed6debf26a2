#!/usr/bin/env bash
# Removes what create.sh made, and the disks that Kubernetes made for the cluster. Enabled APIs stay.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/gke/settings.sh
source "$here/settings.sh"

keep_bucket=false
yes=false

usage() {
  cat << HELP
Usage: remove.sh --project ID [flags]

Removes the cluster with all its pools and disks, the image repository, the nodes' account and the
bucket with everything in it. Asks first.

  --keep-bucket        leave the bucket and what it holds
  --yes                do not ask
$common_help
HELP
}

own_flag() {
  case $1 in
    --keep-bucket) keep_bucket=true ;;
    --yes) yes=true ;;
    *) return 1 ;;
  esac
}

read_settings "$@"
in_project=(--project "$PROJECT" --quiet)

if ! $dry_run && ! $yes; then
  $keep_bucket && bucket="" || bucket=", bucket gs://$BUCKET with everything in it"
  read -r -p "Delete cluster $CLUSTER, repository $REPOSITORY with its images$bucket
in project $PROJECT? Type the cluster's name: " answer || true
  [[ ${answer:-} == "$CLUSTER" ]] || fail "nothing was removed"
fi

# Deletes a thing unless it is gone already: the command that describes it, `--`, the one that deletes.
remove() {
  local describe=()
  while [[ $1 != -- ]]; do describe+=("$1") && shift; done
  shift
  if $dry_run || exists "${describe[@]}"; then run "$@"; else echo "not there: ${*:1:5}"; fi
}

if $keep_bucket; then
  run gcloud storage buckets remove-iam-policy-binding "gs://$BUCKET" "${in_project[@]}" \
    --member "$(principal "$service_account")" --role roles/storage.objectUser
  run gcloud storage buckets remove-iam-policy-binding "gs://$BUCKET" "${in_project[@]}" \
    --member "$(principal ml-pipeline-ui)" --role roles/storage.objectViewer
fi

remove gcloud container clusters describe "$CLUSTER" --zone "$ZONE" "${in_project[@]}" \
  -- gcloud container clusters delete "$CLUSTER" --zone "$ZONE" "${in_project[@]}"

# Disks of volume claims (KFP's database and object store) outlive their cluster.
disks=DISK
if ! $dry_run; then
  disks=$(gcloud compute disks list "${in_project[@]}" --zones "$ZONE" --format 'value(name)' \
    --filter "labels.goog-k8s-cluster-name=$CLUSTER AND -users:*")
fi
for disk in $disks; do
  run gcloud compute disks delete "$disk" --zone "$ZONE" "${in_project[@]}"
done

if ! $keep_bucket; then
  remove gcloud storage buckets describe "gs://$BUCKET" "${in_project[@]}" \
    -- gcloud storage rm --recursive "gs://$BUCKET" "${in_project[@]}"
fi

remove gcloud artifacts repositories describe "$REPOSITORY" --location "$region" "${in_project[@]}" \
  -- gcloud artifacts repositories delete "$REPOSITORY" --location "$region" "${in_project[@]}"

# The role first: a binding of a deleted account stays in the project's policy.
if $dry_run || exists gcloud iam service-accounts describe "$node_account_email" "${in_project[@]}"; then
  run gcloud projects remove-iam-policy-binding "$PROJECT" --condition None \
    --member "serviceAccount:$node_account_email" --role roles/container.defaultNodeServiceAccount \
    --quiet
  run gcloud iam service-accounts delete "$node_account_email" "${in_project[@]}"
fi
