//! The first page: how things stand, and what to do first.

use super::html::{Escaped, Prose, document};
use crate::v1::{Health, StatusView};

/// What there is to show.
pub(super) enum View {
    /// Set-up is not finished.
    SetUp,
    /// All is there.
    Running(StatusView),
    /// The store does not answer.
    Unhealthy,
}

/// Renders the page as seen at `host`.
pub(super) fn page(view: &View, host: &str, version: &str) -> String {
    let content = match view {
        View::SetUp => set_up(host),
        View::Running(status) => running(status, host),
        View::Unhealthy => {
            banner("bad", "Not working", "The store does not answer. The server's log tells why.")
        }
    };
    let footer = format!("<footer>ClawMachine {}</footer>", Escaped(version));
    document("ClawMachine", "/", &format!("<main class=\"home\">\n{content}\n</main>\n{footer}"))
}

fn banner(kind: &str, title: &str, text: &str) -> String {
    format!(
        "<section class=\"banner {kind}\"><span class=\"dot\" aria-hidden=\"true\"></span><div><h1>{}</h1><p>{}</p></div></section>",
        Escaped(title),
        Prose(text)
    )
}

fn set_up(host: &str) -> String {
    let host = Escaped(host);
    let head = banner(
        "wait",
        "Set-up is not finished",
        "Until the first key or person exists, nothing else answers. It takes the setup token that the server printed \
         when it started: `wag_setup_…`.",
    );
    format!(
        "{head}\n<section class=\"card\"><h2>With a key</h2><p>For programs and the command line. The answer shows the \
         key once.</p>\n<pre><code>curl http://{host}/api/auth/setup \\\n  -H 'Content-Type: application/json' \\\n  \
         -d '{{\"setup_token\": \"wag_setup_…\",\n       \"scopes\": [\"*\"], \"label\": \"admin\"}}'</code></pre></section>\n\
         <section class=\"card\"><h2>With a username and password</h2><p>For a person who signs in.</p>\n\
         <pre><code>curl http://{host}/api/v1/auth/setup \\\n  -H 'Content-Type: application/json' \\\n  \
         -d '{{\"setup_token\": \"wag_setup_…\",\n       \"username\": \"admin\", \"password\": \"…\"}}'</code></pre></section>"
    )
}

fn running(status: &StatusView, host: &str) -> String {
    let head = match (&status.status, &status.waiting_because) {
        (Health::Degraded, Some(reason)) => banner("wait", "Jobs are waiting", reason),
        (Health::Degraded, None) => banner("wait", "Jobs are waiting", "The server's log tells why."),
        (Health::Healthy, _) => banner("good", "All is well", "Jobs start as soon as they are submitted."),
    };
    let queue = &status.queue;
    let numbers = [
        ("Waiting", queue.pending),
        ("Running", queue.running),
        ("Completed", queue.completed),
        ("Failed", queue.failed),
        ("Cancelled", queue.cancelled),
    ]
    .map(|(name, number)| format!("<div><dt>{name}</dt><dd>{number}</dd></div>"))
    .join("");
    let facts = [
        ("Jobs run in", backend(status)),
        ("Worker", format!("{} of {} places taken", status.active, status.capacity)),
        ("Docker Engine", if status.docker_available { "answers" } else { "does not answer" }.to_owned()),
        ("Sandbox image", if status.sandbox_image_ready { "ready" } else { "not there" }.to_owned()),
    ]
    .map(|(name, fact)| format!("<tr><th scope=\"row\">{name}</th><td>{}</td></tr>", Escaped(&fact)))
    .join("");
    let host = Escaped(host);
    format!(
        "{head}\n<section class=\"card\"><h2>Jobs</h2><dl class=\"numbers\">{numbers}</dl></section>\n\
         <section class=\"card\"><h2>Parts</h2><table class=\"facts\"><tbody>{facts}</tbody></table></section>\n\
         <section class=\"card\"><h2>First steps</h2>\
         <p>Submit a job with the command line, or with any HTTP client and a key:</p>\n\
         <pre><code>claw submit --wait \"Say hello\"</code></pre>\n\
         <pre><code>curl http://{host}/api/v1/jobs \\\n  -H \"X-API-Key: $CLAW_API_KEY\" \\\n  \
         -H 'Content-Type: application/json' \\\n  -d '{{\"prompt\":\"Say hello\"}}'</code></pre>\
         <p>The <a href=\"/docs\">API reference</a> shows every route; \
         <a href=\"/api/openapi.json\">the OpenAPI document</a> is for generators.</p></section>"
    )
}

fn backend(status: &StatusView) -> String {
    match status.execution_backend {
        "docker" => "Docker sandboxes".into(),
        "local" => "processes on this machine, without a sandbox".into(),
        other => other.into(),
    }
}
