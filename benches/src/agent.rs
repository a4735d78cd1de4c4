//! A stand-in for the agent CLI: writes as many lines as its task says, at the rate it says, each with the time at which
//! it was written.

use std::{
    io::{BufRead, Write},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};

/// What a task for this agent begins with.
const MARK: &str = "BENCH:";

/// How often lines are written.
const BEAT: Duration = Duration::from_millis(1);

/// Tells whether this program was started under the name of the agent CLI.
pub(crate) fn is_called() -> bool {
    std::env::args()
        .next()
        .is_some_and(|name| Path::new(&name).file_name().is_some_and(|name| name == "claude"))
}

/// Returns the prompt that makes this agent write `lines` lines at `rate` lines a second.
pub(crate) fn prompt(lines: u64, rate: u64) -> String {
    format!("{MARK}{}", json!({ "lines": lines, "rate": rate }))
}

/// Returns the number and the time in nanoseconds that a line of this agent tells.
pub(crate) fn stamp(line: &[u8]) -> Option<(u64, u128)> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let mut words = line["message"]["content"][0]["text"].as_str()?.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Returns the time in nanoseconds as lines tell it. It is the same inside of a container.
#[expect(
    clippy::disallowed_methods,
    reason = "compared with the time that another process of this machine saw"
)]
pub(crate) fn now() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos())
}

/// Does what the task on standard input says.
pub(crate) fn run() -> ExitCode {
    match play() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn play() -> std::io::Result<()> {
    let mut task = String::new();
    std::io::stdin().lock().read_line(&mut task)?;
    let task: Value = serde_json::from_str(&task)?;
    let prompt = &task["message"]["content"];
    let prompt = prompt.as_str().or(prompt[0]["text"].as_str()).unwrap_or_default();
    let script = prompt.split_once(MARK).map_or("{}", |(_, script)| script);
    let script: Value =
        serde_json::Deserializer::from_str(script).into_iter().next().unwrap_or(Ok(json!({})))?;
    let (lines, rate) = (script["lines"].as_u64().unwrap_or(0), script["rate"].as_u64().unwrap_or(1).max(1));

    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}",
        json!({"type": "system", "subtype": "init", "session_id": "bench", "model": "bench"})
    )?;
    out.flush()?;
    let begun = Instant::now();
    let mut written = 0;
    let mut beat = Vec::new();
    while written < lines {
        let due = (begun.elapsed().as_secs_f64() * rate as f64) as u64 + 1;
        beat.clear();
        while written < due.min(lines) {
            // About as long as a short line of the real CLI.
            let text = format!("{written} {} {:0<120}", now(), "a line of output of an agent ");
            let content = json!([{ "type": "text", "text": text }]);
            let line = json!({"type": "assistant", "session_id": "bench", "message": {"model": "bench", "role": "assistant", "content": content}});
            writeln!(beat, "{line}")?;
            written += 1;
        }
        out.write_all(&beat)?;
        out.flush()?;
        std::thread::sleep(BEAT);
    }
    let result = json!({"type": "result", "subtype": "success", "is_error": false, "result": "done", "session_id": "bench", "num_turns": 1});
    writeln!(out, "{result}")?;
    out.flush()
}
