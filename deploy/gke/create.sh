#!/usr/bin/env bash
# Makes what genpipe runs on in Google Cloud. Run again after a failure, it goes on where it stopped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/gke/settings.sh
source "$here/settings.sh"

spot=true
kfp_version=2.17.0

usage() {
  cat << HELP
Usage: create.sh --project ID [flags]

Makes a GKE cluster with a CPU pool and a GPU pool (NVIDIA L4, spot, none while nothing trains), a
bucket, an image repository, and the rights of the step pods; and installs Kubeflow Pipelines
$kfp_version there, set to try steps again after lost pods and failures alike. kubectl is left at the
new cluster. remove.sh removes all of it.

  --on-demand          GPU nodes that Google does not take back, at the full price; the
                       environment then needs \`spot: false\`
  --cpu-machine TYPE   (default: e2-standard-4)
  --cpu-nodes N        at most; one is always on (default: 4)
  --gpu-machine TYPE   with one L4 (default: g2-standard-4)
  --gpu-nodes N        at most; deploy/overlays/gpu-quota/quota.yaml holds the same (default: 3)
$common_help
HELP
}

own_flag() {
  [[ $1 == --on-demand ]] && spot=false
}

read_settings "$@"
in_project=(--project "$PROJECT")

run gcloud services enable artifactregistry.googleapis.com compute.googleapis.com \
  container.googleapis.com iam.googleapis.com storage.googleapis.com "${in_project[@]}"

exists gcloud artifacts repositories describe "$REPOSITORY" --location "$region" "${in_project[@]}" \
  || run gcloud artifacts repositories create "$REPOSITORY" --location "$region" \
    --repository-format docker "${in_project[@]}"

# Nodes as an account of their own: the default one may often edit the whole project.
exists gcloud iam service-accounts describe "$node_account_email" "${in_project[@]}" \
  || run gcloud iam service-accounts create "$node_account" \
    --display-name "Nodes of GKE cluster $CLUSTER" "${in_project[@]}"
run gcloud projects add-iam-policy-binding "$PROJECT" --condition None \
  --member "serviceAccount:$node_account_email" --role roles/container.defaultNodeServiceAccount
run gcloud artifacts repositories add-iam-policy-binding "$REPOSITORY" --location "$region" \
  --member "serviceAccount:$node_account_email" --role roles/artifactregistry.reader \
  "${in_project[@]}"

exists gcloud storage buckets describe "gs://$BUCKET" "${in_project[@]}" \
  || run gcloud storage buckets create "gs://$BUCKET" --location "$region" \
    --uniform-bucket-level-access --public-access-prevention "${in_project[@]}"
run gcloud storage buckets update "gs://$BUCKET" --lifecycle-file "$here/lifecycle.json" \
  "${in_project[@]}"

# cloud-platform: what nodes may do is left to their account's roles.
as_node_account=(--service-account "$node_account_email" --scopes cloud-platform
  --workload-metadata GKE_METADATA)

# The default pool is the CPU pool. Dataplane V2 enforces the network policies of deploy/base.
exists gcloud container clusters describe "$CLUSTER" --zone "$ZONE" "${in_project[@]}" \
  || run gcloud container clusters create "$CLUSTER" --zone "$ZONE" --release-channel regular \
    --enable-dataplane-v2 --workload-pool "$PROJECT.svc.id.goog" "${as_node_account[@]}" \
    --machine-type "$CPU_MACHINE" --num-nodes 1 --enable-autoscaling --min-nodes 1 \
    --max-nodes "$CPU_NODES" "${in_project[@]}"

# The taints keep every pod off that does not ask for a GPU; the environment tolerates them.
pool=gpu-on-demand taints=nvidia.com/gpu=present:NoSchedule as_spot=()
if $spot; then
  pool=gpu-spot taints+=,cloud.google.com/gke-spot=true:NoSchedule as_spot=(--spot)
fi
exists gcloud container node-pools describe "$pool" --cluster "$CLUSTER" --zone "$ZONE" \
  "${in_project[@]}" \
  || run gcloud container node-pools create "$pool" --cluster "$CLUSTER" --zone "$ZONE" \
    "${as_spot[@]}" --machine-type "$GPU_MACHINE" \
    --accelerator type=nvidia-l4,count=1,gpu-driver-version=default --node-taints "$taints" \
    --num-nodes 0 --enable-autoscaling --min-nodes 0 --max-nodes "$GPU_NODES" \
    "${as_node_account[@]}" "${in_project[@]}"

# Workload identity, without a key: steps read and write the bucket, KFP's pages show it. After the
# cluster, since the first one makes the identity pool.
run gcloud storage buckets add-iam-policy-binding "gs://$BUCKET" "${in_project[@]}" \
  --member "$(principal "$service_account")" --role roles/storage.objectUser
run gcloud storage buckets add-iam-policy-binding "gs://$BUCKET" "${in_project[@]}" \
  --member "$(principal ml-pipeline-ui)" --role roles/storage.objectViewer

# Kubeflow Pipelines. Applied again, nothing changes.
context=gke_${PROJECT}_${ZONE}_$CLUSTER
manifests=github.com/kubeflow/pipelines/manifests/kustomize
in_cluster=(--context "$context" --namespace "$namespace")
run gcloud container clusters get-credentials "$CLUSTER" --zone "$ZONE" "${in_project[@]}"
run kubectl --context "$context" apply -k "$manifests/cluster-scoped-resources?ref=$kfp_version"
run kubectl --context "$context" wait --for condition=established --timeout 60s \
  crd/applications.app.k8s.io
run kubectl --context "$context" apply -k "$manifests/env/platform-agnostic?ref=$kfp_version"
run kubectl "${in_cluster[@]}" patch configmap workflow-controller-configmap --type merge \
  --patch-file "$here/../kubeflow/retries.yaml"
run kubectl "${in_cluster[@]}" wait --for condition=available --timeout 15m deployment --all
