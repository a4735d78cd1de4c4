//! What holds for whatever is asked.

use claw_docker::policy::{Policy, strict};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn t6_strict_json_reads_what_is_written_plainly_and_never_panics(text in "[\\[\\]{}\",:a-cA-C0-9.eE+\\-\\\\u ]{0,64}") {
        if let Ok(value) = strict::parse_json(text.as_bytes(), 1 << 16) {
            let plainly: serde_json::Value = serde_json::from_str(&text).expect("strict reads less, never more");
            prop_assert_eq!(value, plainly);
        }
    }

    #[test]
    fn a_policy_file_is_read_or_refused_and_never_panics(text in "[a-z_.=\\[\\]{}'\"0-9 \n]{0,80}") {
        let _ = Policy::parse(&text);
    }
}
