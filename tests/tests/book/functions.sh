# What the hidden commands of pages use.

# Objects that a fragment of a page belongs to: an Ingress with the annotations in this file.
ingress_with() {
    cat <<'END'
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: example
  namespace: web
  annotations:
END
    sed 's/^/    /' "$1"
    cat <<'END'
spec:
  ingressClassName: penstock
  rules:
  - host: example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: example, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: example, namespace: web}
spec: {ports: [{port: 80}]}
END
}

# A ConfigMap with the data in this file.
configmap_with() {
    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: web}\ndata:\n' "$2"
    sed 's/^/  /' "$1"
}

# An agent of these manifests, in the background, and its log in agent.log. Returns when it is ready.
agent() {
    penstock run --l4=off --workers=1 "$@" >agent.out 2>agent.log &
    until curl -sf -o /dev/null localhost:10254/readyz; do
        kill -0 $! 2>/dev/null || { cat agent.log; return 1; }
        sleep 0.05
    done
}

# Something that answers like a pod, on this port of the loopback, by this name.
pod() {
    /usr/bin/python3 tests/tests/book/pod.py "$1" "$2" >/dev/null 2>&1 &
    until (: </dev/tcp/127.0.0.1/"$1") 2>/dev/null; do sleep 0.05; done
}
