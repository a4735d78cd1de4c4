//! From the start of the program to its first answer.

use super::Plan;
use crate::{
    Outcome, seed,
    serve::{self, Setting},
    stats::Samples,
    table::{Budget, Row, Unit},
};

const MAX_MILLISECONDS: f64 = 150.0;

pub(super) async fn measure(plan: &Plan) -> Outcome<Vec<Row>> {
    let jobs = plan.or_quick(100_000, 5_000);
    let runs = plan.or_quick(11, 3);
    let (_full_folder, full_data) = serve::data_dir(&plan.folder)?;
    seed::jobs(&full_data, jobs, seed::NOBODY_ELSE).await?;
    let full = Setting::new(&plan.claw, &full_data).with("DOCKER_HOST", "");
    full.start().await?.stop().await?;

    let (mut first, mut again, mut large) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..runs {
        let (_folder, data) = serve::data_dir(&plan.folder)?;
        let empty = Setting::new(&plan.claw, &data).with("DOCKER_HOST", "");
        for (setting, samples) in [(&empty, &mut first), (&empty, &mut again), (&full, &mut large)] {
            let server = setting.start().await?;
            samples.push_time(server.started_in());
            server.stop().await?;
        }
    }
    let how =
        format!("from the start of the process to the end of the first answered GET /health; {runs} starts");
    let row = |what: &str, samples: &Samples, how: String| {
        Row::median(what, Unit::Milliseconds, Budget::MedianAtMost(MAX_MILLISECONDS), samples, how)
    };
    Ok(vec![
        row("start → first answered request", &again, format!("{how}; longest {:.0} ms", again.most())),
        row(
            "… the very first start",
            &first,
            format!("the same, making its data folder; longest {:.0} ms", first.most()),
        ),
        row(
            &format!("… with {jobs} jobs in the store"),
            &large,
            format!("the same; longest {:.0} ms", large.most()),
        ),
    ])
}
