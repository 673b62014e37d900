//! The leaky bucket (reference section 1.5). One request a minute: no test is so slow that a second
//! one would fit.

use super::{Ask, Group, compare, ingress, pass};

const HOST: &str = "limit.test";

#[test]
fn leaky_bucket() {
    let [a, b, c] = ["a", "b", "c"].map(pass);
    let from = |address: &str, target: &str, number: usize| {
        Ask::with(HOST, target, &format!("X-Forwarded-For: {address}\r\n"))
            .named(format!("{target} of {address}, {number}"))
    };
    let mut asks = Vec::new();
    for number in 0..9 {
        // Two paths of one Ingress, two clients, one that is never limited.
        asks.push(from("192.0.2.1", "/five", number));
        asks.push(from("192.0.2.1", "/also", number));
        asks.push(from("192.0.2.2", "/five", number));
        asks.push(from("198.51.100.1", "/five", number));
        asks.push(from("192.0.2.1", "/once", number));
        asks.push(from("192.0.2.1", "/free", number));
    }
    let limited = |zone: &str, burst: u32, pass: &str| {
        format!("limit_req zone={zone} burst={burst} nodelay; limit_req_status 503; {pass}")
    };
    let (five, once) = (limited("five", 5, &a), limited("once", 1, &b));
    compare(&Group {
        name: "leaky_bucket",
        manifests: ingress(
            "five",
            HOST,
            &[("limit-rpm", "1"), ("limit-allowlist", "198.51.100.0/24")],
            &["Exact /five a", "Exact /also a"],
        ) + &ingress(
            "once",
            HOST,
            &[("limit-rpm", "1"), ("limit-burst-multiplier", "1")],
            &["Exact /once b"],
        ) + &ingress("free", HOST, &[], &["Exact /free c"]),
        settings: &[("use-forwarded-headers", "true")],
        nginx: format!(
            "set_real_ip_from 0.0.0.0/0; real_ip_header X-Forwarded-For; real_ip_recursive on;\n\
             geo $listed {{ default 0; 198.51.100.0/24 1; }}\n\
             map $listed $key {{ 0 $binary_remote_addr; 1 ''; }}\n\
             limit_req_zone $key zone=five:5m rate=1r/m;\n\
             limit_req_zone $binary_remote_addr zone=once:5m rate=1r/m;\n\
             server {{ listen HTTP; server_name {HOST};\n\
             location = /five {{ {five} }}\nlocation = /also {{ {five} }}\n\
             location = /once {{ {once} }}\nlocation = /free {{ {c} }} }}\n"
        ),
        files: &[],
        asks,
        fields: &["content-type", "content-length"],
        differences: &[],
    });
}
