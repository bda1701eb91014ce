#!/usr/bin/env bash
# A cluster that runs on custody, from nothing: it refuses an unsigned image, pins a signed one, and tells of an old one.
#
#   examples/cluster/run.sh            boots an API server of its own: needs etcd, kube-apiserver and openssl
#   KUBECONFIG=FILE examples/cluster/run.sh    uses a cluster that can call this machine at $ADDRESS (127.0.0.1)
#
# Needs custody, kubectl and curl. Everything is in a folder that is deleted at the end; KEEP=1 leaves it and what runs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); folder=$(mktemp -d); address=${ADDRESS:-127.0.0.1}; pids=(); begun=$(date +%s)
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
finish() {
  [ -n "${KEEP:-}" ] && { echo "left running in $folder: ${pids[*]}"; return; }
  for ((at = ${#pids[@]} - 1; at >= 0; at--)); do kill "${pids[at]}" 2>/dev/null && wait "${pids[at]}" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap finish EXIT
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
until_it() { for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "not within 30 s: $*" >&2; tail -5 "$folder"/*.log >&2; exit 1; }
cd "$folder"

if [ -z "${KUBECONFIG:-}" ]; then
  say "An API server"
  port=$(free) etcd=$(free)
  openssl genrsa -out sa.key 2048 2>/dev/null
  echo 'admin,admin,admin,"system:masters"' > tokens.csv
  etcd --data-dir etcd --listen-client-urls "http://127.0.0.1:$etcd" --advertise-client-urls "http://127.0.0.1:$etcd" \
    --listen-peer-urls "http://127.0.0.1:$(free)" --unsafe-no-fsync >etcd.log 2>&1 & pids+=($!)
  kube-apiserver --etcd-servers "http://127.0.0.1:$etcd" --bind-address 127.0.0.1 --secure-port "$port" --cert-dir tls \
    --token-auth-file tokens.csv --authorization-mode RBAC --service-account-issuer https://kubernetes.default.svc \
    --service-account-key-file sa.key --service-account-signing-key-file sa.key --service-cluster-ip-range 10.0.0.0/24 \
    --disable-admission-plugins ServiceAccount --endpoint-reconciler-type none >apiserver.log 2>&1 & pids+=($!)
  until_it test -s tls/apiserver.crt
  export KUBECONFIG=$folder/kubeconfig
  kubectl config set-cluster c --server "https://127.0.0.1:$port" --certificate-authority tls/apiserver.crt --embed-certs >/dev/null
  kubectl config set-credentials admin --token admin >/dev/null
  kubectl config set-context c --cluster c --user admin >/dev/null
  kubectl config use-context c >/dev/null
  until_it kubectl get --raw /readyz
  echo "https://127.0.0.1:$port"
fi

say "A registry with two images, of which one is signed"
registry=$(free)
custody serve --roles registry --port "$registry" >registry.log 2>&1 & pids+=($!)
until_it curl -sf "http://127.0.0.1:$registry/v2/"
blob() { # FILE REPOSITORY: its digest
  local digest; digest=sha256:$(sha256sum "$1" | cut -d' ' -f1)
  curl -sf -X POST --data-binary "@$1" -H 'Content-Type: application/octet-stream' \
    "http://127.0.0.1:$registry/v2/$2/blobs/uploads/?digest=$digest" >/dev/null; echo "$digest"; }
push() { # REPOSITORY:TAG
  local repository=${1%:*}; head -c 200 /dev/urandom | gzip > layer
  printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(gunzip <layer | sha256sum | cut -d' ' -f1)" > config
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"%s","size":%d}]}' \
    "$(blob config "$repository")" "$(stat -c %s config)" "$(blob layer "$repository")" "$(stat -c %s layer)" > manifest
  curl -sf -X PUT --data-binary @manifest -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
    "http://127.0.0.1:$registry/v2/$repository/manifests/${1##*:}" >/dev/null; echo "127.0.0.1:$registry/$1"; }
push shop/web:1.0; push shop/web:2.0
export COSIGN_PASSWORD=
custody generate-key-pair
custody sign -y --key cosign.key --tlog-upload=false "127.0.0.1:$registry/shop/web:2.0"

say "custody runs the cluster's admission"
webhook=$(free) plain=$(free)
custody admission crds | kubectl apply --server-side -f - >/dev/null
kubectl run old --image "127.0.0.1:$registry/shop/web:1.0" >/dev/null
custody admission run --kubeconfig "$KUBECONFIG" --url "https://$address:$webhook" --webhook-port "$webhook" --port "$plain" \
  --withdraw >admission.log 2>&1 & pids+=($!)
until_it curl -sf "http://127.0.0.1:$plain/readyz"

say "A policy is applied: what is there already is told of"
python3 - "$here/policy.yaml" "127.0.0.1:$registry" cosign.pub > policy.yaml <<'PY'
import json, sys
text = open(sys.argv[1]).read().replace("REGISTRY", sys.argv[2])
print(text.replace("KEY", json.dumps(open(sys.argv[3]).read())))
PY
kubectl apply -f policy.yaml 2>&1 | tee applied
kubectl wait --for=condition=Ready clusterpolicy/signed-by-the-shop --timeout=20s
grep -q "would have denied 1 of 1 objects that are there: Pod default/old" applied

say "An unsigned image is refused"
if kubectl run unsigned --image "127.0.0.1:$registry/shop/web:1.0" 2>refused; then echo "it was admitted" >&2; exit 1; fi
cat refused; grep -q "signed-by-the-shop" refused

say "A signed one is admitted, pinned to what was judged"
kubectl run signed --image "127.0.0.1:$registry/shop/web:2.0"
image=$(kubectl get pod signed -o 'jsonpath={.spec.containers[0].image}'); echo "$image"
case $image in *web:2.0@sha256:*) ;; *) echo "it is not pinned" >&2; exit 1 ;; esac

say "Done in $(($(date +%s) - begun)) s."
