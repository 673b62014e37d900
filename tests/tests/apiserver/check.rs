//! `penstock check --cluster` with the caller's own rights.

use std::{
    path::Path,
    process::{Command, Output},
};

use testbed::requirement;

use crate::place::{Place, until};

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NS}
spec: {ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: bad
  namespace: NS
  annotations: {nginx.ingress.kubernetes.io/denylist-source-range: nowhere}
spec:
  ingressClassName: nginx
  rules:
  - host: NS.example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
";

const ROLES: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: auditor, namespace: NS}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NS}
rules:
- {apiGroups: [networking.k8s.io], resources: [ingresses], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NS}
subjects: [{kind: ServiceAccount, name: auditor, namespace: NS}]
";

fn check(penstock: &Path, kubeconfig: &Path) -> Output {
    let mut command = Command::new(penstock);
    command.args(["check", "--cluster", "--kubeconfig"]).arg(kubeconfig);
    command.output().expect("penstock runs")
}

#[test]
fn check_finds_what_is_wrong_in_the_cluster() {
    let test = "check_finds_what_is_wrong_in_the_cluster";
    let (Some(place), Some(penstock)) = (Place::shared(test), requirement::agent(test)) else {
        return;
    };
    place.apply(OBJECTS);
    let output = check(&penstock, &place.server.kubeconfig());
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let object = format!("{}/bad", place.namespace);
    assert!(said.contains(&object) && said.contains("denylist-source-range"), "{said}");
    place.delete(OBJECTS);
}

#[test]
fn check_says_what_the_caller_may_not_list() {
    let test = "check_says_what_the_caller_may_not_list";
    let (Some(place), Some(penstock)) = (Place::shared(test), requirement::agent(test)) else {
        return;
    };
    place.apply(ROLES);
    let account = place.server.account(&place.namespace, "auditor").expect("a token");
    // The server learns of roles by a watch of its own.
    until("only Ingresses may be listed", || {
        let output = check(&penstock, &account.kubeconfig);
        said(&output).contains("may not be listed")
    });
    place.delete(ROLES);
    until("not even those may be listed", || {
        let output = check(&penstock, &account.kubeconfig);
        !output.status.success() && said(&output).contains("cannot list")
    });
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
