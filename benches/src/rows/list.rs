//! Pages of jobs from a store with very many.

use std::time::Instant;

use serde_json::json;

use super::Plan;
use crate::{
    Outcome, seed,
    serve::{self, Setting},
    stats::Samples,
    table::{Budget, Row, Unit},
};

const MAX_MILLISECONDS: f64 = 5.0;

/// Jobs on a page, as clients have it by default.
const PAGE: u64 = 20;

/// One way to list.
struct Case {
    what: String,
    query: String,
    as_agent: bool,
    page: u64,
    total: u64,
    times: Samples,
}

impl Case {
    fn path(&self) -> String {
        format!("/api/v1/jobs?limit={PAGE}&offset={}&{}", (self.page - 1) * PAGE, self.query)
    }
}

pub(super) async fn measure(plan: &Plan) -> Outcome<Vec<Row>> {
    let jobs = plan.or_quick(100_000, 5_000);
    let rounds = plan.or_quick(300, 20);
    let (_folder, data) = serve::data_dir(&plan.folder)?;
    let setting = Setting::new(&plan.claw, &data);
    // The key comes first: jobs carry its mark.
    let server = setting.start().await?;
    let key = json!({"label": "lists", "scopes": ["jobs:read", "jobs:write"]});
    let made = server.client().await?.post("/api/keys", &key).await?["data"].clone();
    server.stop().await?;
    let field =
        |value: &serde_json::Value| value.as_str().map(str::to_owned).ok_or("the key is not as expected");
    let (key, id) = (field(&made["key"])?, field(&made["meta"]["id"])?);
    let seeded = seed::jobs(&data, jobs, &format!("key:{id}")).await?;

    let server = setting.start().await?;
    let (mut admin, mut agent) = (server.client().await?, server.client_with(&key).await?);
    let last_page = plan.or_quick(1_000, 50);
    let mut cases = cases(&seeded.workspace.to_string(), last_page);
    // Taking turns, so that a noisy minute is everybody's; the first rounds fill caches as use does.
    for round in 0..rounds + rounds / 10 {
        for case in &mut cases {
            let client = if case.as_agent { &mut agent } else { &mut admin };
            if round == 0 {
                case.total = client.get(&case.path()).await?["total"].as_u64().unwrap_or_default();
                // Where fewer match, their last page is the farthest.
                case.page = case.page.min(case.total / PAGE).max(1);
            }
            let request = client.request("GET", &case.path(), None);
            let before = Instant::now();
            let answer = client.send(&request).await?;
            let time = before.elapsed();
            if round == 0 {
                let expected = case.total.saturating_sub((case.page - 1) * PAGE).min(PAGE) as usize;
                if answer.json()?["items"].as_array().map(Vec::len) != Some(expected) {
                    return Err(format!("the page of `{}` is not whole", case.query).into());
                }
            } else if round >= rounds / 10 {
                case.times.push_time(time);
            }
        }
    }
    let row = |case: &Case| {
        let how = format!(
            "`{}`, {} match",
            if case.query.is_empty() { "no filter" } else { &case.query },
            case.total
        );
        let how = if case.as_agent { format!("an agent's key, {how}") } else { how };
        let what = format!("{jobs} jobs: {}, page {}", case.what, case.page);
        // What people wait for is the first page; how deep pages do is told beside it.
        let budget = if case.page == 1 { Budget::P99AtMost(MAX_MILLISECONDS) } else { Budget::Nothing };
        Row::both(&what, Unit::Milliseconds, budget, &case.times, how)
    };
    Ok(cases.iter().map(row).collect())
}

fn cases(workspace: &str, last_page: u64) -> Vec<Case> {
    let of_workspace = format!("workspace_id={workspace}");
    let queries = [
        ("all, newest first", String::new()),
        ("oldest first", "sort=oldest".to_owned()),
        ("most urgent first", "sort=priority".to_owned()),
        ("by state", "status=completed".to_owned()),
        ("by state, waiting, most urgent first", "status=pending&sort=priority".to_owned()),
        ("by workspace", of_workspace.clone()),
        ("by tag", "tag=nightly".to_owned()),
        ("by tag, most urgent first", "tag=nightly&sort=priority".to_owned()),
        ("by source", "source=webhook".to_owned()),
        ("by text", "search=lobster".to_owned()),
        ("by text of two letters", "search=lo".to_owned()),
        ("by text, most urgent first", "search=lobster&sort=priority".to_owned()),
        ("by state and workspace", format!("status=completed&{of_workspace}")),
        ("by text in a workspace", format!("search=lobster&{of_workspace}")),
    ];
    let few = [
        ("by a rare tag", "tag=rare".to_owned()),
        ("by a rare text", "search=quokka".to_owned()),
        ("by a text that is nowhere", "search=aardvark".to_owned()),
        ("by two letters that are nowhere", "search=zq".to_owned()),
    ];
    let case = |what: &str, query: String, as_agent, page| Case {
        what: what.to_owned(),
        query,
        as_agent,
        page,
        total: 0,
        times: Samples::default(),
    };
    let mut cases = Vec::new();
    for (what, query) in queries {
        cases.push(case(what, query.clone(), false, 1));
        cases.push(case(what, query, false, last_page));
    }
    cases.extend(few.map(|(what, query)| case(what, query, false, 1)));
    for page in [1, last_page] {
        cases.push(case("by owner", String::new(), true, page));
    }
    cases.push(case("by owner and text", "search=lobster".to_owned(), true, 1));
    cases
}
