//! What to write instead of a directive.

/// The annotation, or key of the ConfigMap, that does what a directive is mostly used for.
pub(super) fn alternative(directive: &str) -> Option<&'static str> {
    Some(match directive {
        "auth_basic" | "auth_basic_user_file" => "the annotations `auth-type` and `auth-secret`",
        "auth_request" | "auth_request_set" => {
            "the annotations `auth-url` and `auth-response-headers`"
        }
        "limit_req" | "limit_req_zone" | "limit_req_status" => "the annotation `limit-rps`",
        "limit_conn" | "limit_conn_zone" | "limit_conn_status" => {
            "the annotation `limit-connections`"
        }
        "limit_rate" | "limit_rate_after" => "the annotations `limit-rate` and `limit-rate-after`",
        "proxy_pass" | "grpc_pass" | "fastcgi_pass" => "a path of an Ingress with its own Service",
        "location" => "a path of an Ingress, or `server-snippet`",
        "server_name" => "the annotation `server-alias`",
        "set_real_ip_from" | "real_ip_header" | "real_ip_recursive" => {
            "the ConfigMap's `enable-real-ip` and `proxy-real-ip-cidr`"
        }
        "large_client_header_buffers" => "the ConfigMap's `large-client-header-buffers`",
        "client_header_timeout" => "the ConfigMap's `client-header-timeout`",
        "client_body_timeout" => "the ConfigMap's `client-body-timeout`",
        "keepalive_timeout" => "the ConfigMap's `keep-alive`",
        "proxy_cookie_path" => "the annotation `proxy-cookie-path`",
        "proxy_cookie_domain" => "the annotation `proxy-cookie-domain`",
        "proxy_next_upstream" => "the annotation `proxy-next-upstream`",
        "proxy_next_upstream_tries" => "the annotation `proxy-next-upstream-tries`",
        "proxy_next_upstream_timeout" => "the annotation `proxy-next-upstream-timeout`",
        "proxy_ssl_verify"
        | "proxy_ssl_trusted_certificate"
        | "proxy_ssl_certificate"
        | "proxy_ssl_certificate_key" => {
            "the annotations `proxy-ssl-secret` and `proxy-ssl-verify`"
        }
        "proxy_ssl_name" => "the annotation `proxy-ssl-name`",
        "proxy_ssl_protocols" => "the annotation `proxy-ssl-protocols`",
        "proxy_ssl_ciphers" => "the annotation `proxy-ssl-ciphers`",
        "error_page" => "the annotations `custom-http-errors` and `default-backend`",
        "mirror" => "the annotation `mirror-target`",
        "ssl_ciphers" => "the annotation `ssl-ciphers`",
        "ssl_protocols" => "the ConfigMap's `ssl-protocols`",
        "ssl_client_certificate" | "ssl_verify_client" => "the annotation `auth-tls-secret`",
        "satisfy" => "the annotation `satisfy`",
        "modsecurity" | "modsecurity_rules" => "the annotation `enable-modsecurity`",
        "opentelemetry" => "the annotation `enable-opentelemetry`",
        "more_set_headers" | "add_header" => "the annotation `custom-headers`",
        _ => return None,
    })
}

/// What to write instead of a snippet, by its annotation.
pub(in crate::translate) fn of_key(key: &str) -> &'static str {
    match key {
        "configuration-snippet" => {
            "`custom-headers`, `enable-cors`, `allowlist-source-range`, `permanent-redirect`, \
             `rewrite-target` and `auth-url` do without a snippet what most are for"
        }
        "server-snippet" => {
            "a path of an Ingress, `denylist-source-range`, `from-to-www-redirect` and \
             `server-alias` do without a snippet what most are for"
        }
        "auth-snippet" | "global-auth-snippet" => {
            "`auth-proxy-set-headers` sets headers for the authentication service"
        }
        "stream-snippet" => {
            "`--tcp-services-configmap` and `--udp-services-configmap` publish ports"
        }
        _ => "`enable-modsecurity` and `enable-owasp-core-rules` switch the firewall on",
    }
}
