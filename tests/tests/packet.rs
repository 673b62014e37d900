//! x
use aya::{EbpfLoader, VerifierLogLevel, programs::Xdp};
#[test]
fn loads() {
    let level = if std::env::var("V").is_ok() {
        VerifierLogLevel::VERBOSE | VerifierLogLevel::STATS
    } else {
        VerifierLogLevel::STATS
    };
    let mut bpf = EbpfLoader::new()
        .verifier_log_level(level)
        .load(ingress_userspace::l4::object::embedded().unwrap())
        .unwrap();
    for name in ["xdp_pass", "xdp_decap", "xdp_steer"] {
        let p: &mut Xdp = bpf.program_mut(name).unwrap().try_into().unwrap();
        if let Err(e) = p.load() {
            let s = format!("{e:#?} {e}").replace("\\n", "\n");
            std::fs::write("/tmp/w/l4-verifier.log", &s).unwrap();
            println!("{name} FAILED");
            continue;
        }
        let i = p.info().unwrap();
        println!(
            "{name}: {:?} insns verified, {:?} bytes",
            i.verified_instruction_count(),
            i.size_jitted()
        );
    }
}
