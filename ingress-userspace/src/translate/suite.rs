//! OpenSSL's lists of cipher suites, as `ssl-ciphers` has them, read for what Penstock offers.

use super::report::Report;
use crate::model::Suite;

use Suite::{
    EcdheEcdsaAes128GcmSha256, EcdheEcdsaAes256GcmSha384, EcdheEcdsaChacha20Poly1305,
    EcdheRsaAes128GcmSha256, EcdheRsaAes256GcmSha384, EcdheRsaChacha20Poly1305,
};

/// What a list comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Suites {
    /// In the order of the list, each once.
    pub(super) offered: Vec<Suite>,
    /// The names and words that add nothing because Penstock has no such suite.
    pub(super) missing: Vec<String>,
}

/// OpenSSL's name, the name in the standards, the suite.
const NAMES: [(&str, &str, Suite); 6] = [
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        EcdheEcdsaAes128GcmSha256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        EcdheRsaAes128GcmSha256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        EcdheEcdsaAes256GcmSha384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        EcdheRsaAes256GcmSha384,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        EcdheEcdsaChacha20Poly1305,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        EcdheRsaChacha20Poly1305,
    ),
];

/// Reads a list (openssl-ciphers(1)): items between `:`, `,` or blanks, several words of an item
/// joined by `+`; `!` and `-` take away, `+` at the front moves to the end.
pub(super) fn parse(list: &str) -> Suites {
    let mut suites = Suites::default();
    let mut banned = Vec::new();
    for item in list.split([':', ',', ' ', '\n']).filter(|item| !item.is_empty()) {
        // `@STRENGTH` sorts and `@SECLEVEL=2` forbids what is not offered anyway.
        if item.starts_with('@') {
            continue;
        }
        let (sign, words) = match item.split_at_checked(1) {
            Some((sign @ ("!" | "-" | "+"), words)) => (sign, words),
            _ => ("", item),
        };
        let meant: Vec<Suite> = Suite::DEFAULT
            .into_iter()
            .filter(|suite| words.split('+').all(|word| matches(word, *suite)))
            .collect();
        match sign {
            "!" => {
                suites.offered.retain(|suite| !meant.contains(suite));
                banned.extend(meant);
            }
            "-" => suites.offered.retain(|suite| !meant.contains(suite)),
            "+" => {
                let is_meant = |suite: &Suite| meant.contains(suite);
                let (moved, mut kept): (Vec<_>, Vec<_>) =
                    suites.offered.iter().copied().partition(is_meant);
                kept.extend(moved);
                suites.offered = kept;
            }
            // Those of TLS 1.3 are always offered, here as in nginx.
            _ if words.starts_with("TLS_AES_") || words.starts_with("TLS_CHACHA20_") => {}
            _ => {
                if meant.is_empty() {
                    suites.missing.push(words.to_owned());
                }
                for suite in meant {
                    if !suites.offered.contains(&suite) && !banned.contains(&suite) {
                        suites.offered.push(suite);
                    }
                }
            }
        }
    }
    suites
}

/// Says what is missing. `None`: nothing is left, and `otherwise` applies.
pub(super) fn report(
    suites: Suites,
    field: String,
    otherwise: &str,
    report: &mut Report<'_>,
) -> Option<Vec<Suite>> {
    let Suites { offered, missing } = suites;
    if offered.is_empty() {
        let known: Vec<_> = NAMES.iter().map(|(name, ..)| *name).collect();
        let message = format!("has none of {}; {otherwise}", known.join(", "));
        report.error(field, message);
        return None;
    }
    if !missing.is_empty() {
        let message =
            format!("{} are not offered: only suites with ECDHE and AEAD are", missing.join(", "));
        report.warning(field, message);
    }
    Some(offered)
}

/// The suite is one that this word stands for.
fn matches(word: &str, suite: Suite) -> bool {
    let (name, standard, _) =
        NAMES.iter().find(|(.., own)| *own == suite).copied().unwrap_or(NAMES[0]);
    let part = |part: &str| name.split('-').any(|own| own == part);
    match word {
        "ALL" | "DEFAULT" | "HIGH" | "TLSv1.2" | "ECDHE" | "EECDH" | "kECDHE" | "kEECDH"
        | "ECDH" => true,
        "AESGCM" | "AES" | "FIPS" => !part("CHACHA20"),
        "AES128" | "AES256" | "CHACHA20" => part(word),
        "ECDSA" | "aECDSA" => part("ECDSA"),
        "aRSA" => part("RSA"),
        _ => word == name || word == standard,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(list: &str) -> Vec<&'static str> {
        let of =
            |suite: &Suite| NAMES.iter().find(|(.., own)| own == suite).map(|(name, ..)| *name);
        parse(list).offered.iter().filter_map(of).collect()
    }

    #[test]
    fn the_default_list_of_ingress_nginx_is_ours_but_for_dhe() {
        let list = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
            ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
            ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
            DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384";
        let suites = parse(list);
        assert_eq!(suites.offered, Suite::DEFAULT);
        assert_eq!(suites.missing, ["DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384"]);
    }

    #[test]
    fn lists_are_read_as_openssl_does() {
        for (list, expected) in [
            ("", &[][..]),
            ("RC4-SHA:DES-CBC3-SHA:AES128-SHA", &[]),
            ("ECDHE-RSA-AES256-GCM-SHA384", &["ECDHE-RSA-AES256-GCM-SHA384"]),
            (
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256",
                &["ECDHE-RSA-AES128-GCM-SHA256"],
            ),
            (
                "ECDHE+CHACHA20:!aNULL:!MD5",
                &["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"],
            ),
            (
                "EECDH+AESGCM:!ECDSA",
                &["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"],
            ),
            (
                "AESGCM+aECDSA:+AES128:@STRENGTH",
                &["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            ),
            (
                "!CHACHA20:ALL:-aRSA",
                &["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"],
            ),
        ] {
            assert_eq!(offered(list), expected, "{list}");
        }
        assert_eq!(offered("HIGH").len(), 6);
        assert_eq!(parse("HIGH:!aNULL:!MD5").missing, [""; 0]);
        assert_eq!(parse("RC4-SHA:ECDHE+AES128:MEDIUM").missing, ["RC4-SHA", "MEDIUM"]);
    }
}
