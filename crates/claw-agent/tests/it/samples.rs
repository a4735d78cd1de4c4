//! Lines that CLI 2.1.329 wrote, with ids and times replaced.

use claw_agent::{
    sandbox::Exit,
    stream::{Event, RunTally, parse_line},
};

fn check(name: &str, text: &str, code: i64) {
    let events: Vec<Event> = text.lines().flat_map(|line| parse_line(line.as_bytes())).collect();
    let mut tally = RunTally::default();
    events.iter().for_each(|event| tally.event(event));
    let verdict = tally.verdict(Some(Exit { code, out_of_memory: false }), None, None);

    insta::assert_debug_snapshot!(name, (events, verdict));
}

macro_rules! samples {
    ($($test:ident: $file:literal, exit $code:literal;)*) => {$(
        #[test]
        fn $test() {
            check($file, include_str!(concat!("../samples/", $file, ".jsonl")), $code);
        }
    )*};
}

samples! {
    a_run_with_tools_is_read: "tools", exit 0;
    a_background_command_makes_two_results: "background-command", exit 0;
    retries_after_a_refused_credential_are_read: "refused-credential-retries", exit 143;
    a_refused_credential_is_read: "refused-credential", exit 1;
    the_turn_limit_is_read: "turn-limit", exit 1;
    a_spent_budget_is_read: "budget", exit 1;
    refused_tool_calls_are_read: "permission-denials", exit 0;
    an_unknown_session_is_read: "unknown-session", exit 1;
}
