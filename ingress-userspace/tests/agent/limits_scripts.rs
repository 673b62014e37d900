//! Requests to limited paths and what becomes of each, as data: for the agent here, and for nginx
//! itself, which is to do the same with the directives beside them.

/// A configuration and the requests that are sent to it, one after the other.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    /// Without prefix.
    pub(crate) annotations: &'static [(&'static str, &'static str)],
    /// nginx's, beside `server`.
    #[expect(dead_code, reason = "for nginx side by side")]
    pub(crate) zones: &'static str,
    /// nginx's, within `location /`.
    #[expect(dead_code, reason = "for nginx side by side")]
    pub(crate) location: &'static str,
    /// Who asks (its `X-Client`, which is the key of all zones; empty: none) and the status.
    pub(crate) requests: &'static [(&'static str, u16)],
}

/// No script takes as long as any of its rates takes to let one request more in.
pub(crate) const SCRIPTS: &[Script] = &[
    Script {
        name: "one a minute, and five at once",
        annotations: &[("limit-rpm", "1")],
        zones: "limit_req_zone $http_x_client zone=minute:5m rate=1r/m;",
        location: "limit_req zone=minute burst=5 nodelay;",
        requests: &[
            ("a", 200),
            ("a", 200),
            ("a", 200),
            ("b", 200),
            ("a", 200),
            ("a", 200),
            ("a", 200),
            ("a", 503),
            ("a", 503),
            ("b", 200),
            ("", 200),
            ("", 200),
        ],
    },
    Script {
        name: "three a minute, and as many at once",
        annotations: &[("limit-rpm", "3"), ("limit-burst-multiplier", "1")],
        zones: "limit_req_zone $http_x_client zone=minute:5m rate=3r/m;",
        location: "limit_req zone=minute burst=3 nodelay;",
        requests: &[("a", 200), ("a", 200), ("a", 200), ("a", 200), ("a", 503), ("b", 200)],
    },
    Script {
        name: "the stricter of two rates",
        annotations: &[("limit-rps", "50"), ("limit-rpm", "2"), ("limit-burst-multiplier", "1")],
        zones: "limit_req_zone $http_x_client zone=second:5m rate=50r/s;\n\
                limit_req_zone $http_x_client zone=minute:5m rate=2r/m;",
        location: "limit_req zone=second burst=50 nodelay;\nlimit_req zone=minute burst=2 nodelay;",
        requests: &[("a", 200), ("a", 200), ("a", 200), ("a", 503), ("a", 503)],
    },
    Script {
        name: "one at a time",
        annotations: &[("limit-connections", "1")],
        zones: "limit_conn_zone $http_x_client zone=connections:5m;",
        location: "limit_conn connections 1;",
        requests: &[("a", 200), ("b", 200)],
    },
];
