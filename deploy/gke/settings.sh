# shellcheck shell=bash
# What create.sh and remove.sh share: the settings, their flags, and how a command is run.
# shellcheck disable=SC2034  # the scripts that source this use them

PROJECT=${PROJECT:-}
ZONE=${ZONE:-us-central1-a}
CLUSTER=${CLUSTER:-genpipe}
BUCKET=${BUCKET:-}
REPOSITORY=${REPOSITORY:-genpipe}
CPU_MACHINE=${CPU_MACHINE:-e2-standard-4}
CPU_NODES=${CPU_NODES:-4}
GPU_MACHINE=${GPU_MACHINE:-g2-standard-4}
GPU_NODES=${GPU_NODES:-3}

dry_run=false

# As deploy/base and deploy/environments/gke-gpu.yaml name them.
namespace=kubeflow
service_account=genpipe

read -r -d '' common_help <<'HELP' || true
Settings, as flags or as environment variables (--gpu-nodes or GPU_NODES):
  --project ID         the Google Cloud project (required)
  --zone ZONE          with NVIDIA L4 (default: us-central1-a)
  --cluster NAME       (default: genpipe)
  --bucket NAME        (default: PROJECT-genpipe)
  --repository NAME    of the images, in Artifact Registry (default: genpipe)
  --dry-run            print the commands, run none
  --help               this text
HELP

fail() {
  echo "${0##*/}: $1" >&2
  exit 2
}

# Reads the flags; those of one script alone go to its function `own_flag`.
read_settings() {
  local name
  while (($#)); do
    case $1 in
      --help | -h) usage && exit ;;
      --dry-run) dry_run=true && shift ;;
      --project | --zone | --cluster | --bucket | --repository | \
        --cpu-machine | --cpu-nodes | --gpu-machine | --gpu-nodes)
        (($# > 1)) && [[ -n $2 && $2 != --* ]] || fail "$1 needs a value"
        name=${1#--} && name=${name^^}
        printf -v "${name//-/_}" '%s' "$2"
        shift 2
        ;;
      *)
        own_flag "$1" || fail "$1: no such flag; see --help"
        shift
        ;;
    esac
  done
  [[ -n $PROJECT ]] || fail "name the project: --project ID"
  [[ $ZONE =~ ^[a-z]+-[a-z]+[0-9]+-[a-z]$ ]] || fail "zone $ZONE: a zone, as us-central1-a"
  for name in CPU_NODES GPU_NODES; do
    [[ ${!name} =~ ^[1-9][0-9]*$ ]] || fail "$name ${!name}: a number of nodes, 1 or more"
  done
  # Fails here, with gcloud's own words, where there is no login or no such project.
  number=PROJECT_NUMBER
  $dry_run || number=$(gcloud projects describe "$PROJECT" --format 'value(projectNumber)')
  region=${ZONE%-*}
  BUCKET=${BUCKET:-$PROJECT-genpipe}
  node_account=$CLUSTER-nodes
  node_account_email=$node_account@$PROJECT.iam.gserviceaccount.com
}

# Prints a command, so that it can be pasted, and runs it.
run() {
  printf '%q ' "$@" && echo
  $dry_run || "$@"
}

# Whether a thing is there, asked by the command that describes it. A dry run asks nothing.
exists() {
  ! $dry_run && "$@" > /dev/null 2>&1
}

# The identity of a Kubernetes service account of the namespace, as IAM knows it.
principal() {
  local pool=projects/$number/locations/global/workloadIdentityPools/$PROJECT.svc.id.goog
  echo "principal://iam.googleapis.com/$pool/subject/ns/$namespace/sa/$1"
}
