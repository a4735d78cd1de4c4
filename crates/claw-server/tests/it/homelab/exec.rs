//! Programs in containers: what they come to, and in which containers nobody runs any.

use axum::http::Method;
use claw_core::Scope;
use serde_json::{Value, json};

use super::engine::{IMAGE, Named, Outsider, lab, lab_with, outside, unique};
use crate::lab::{Lab, Options, own, until};

fn path(container: &str) -> String {
    format!("/api/containers/{container}/exec")
}

async fn run(lab: &Lab, container: &str, body: Value) -> Value {
    lab.post(&path(container), body).send().await.data()
}

/// What the programs are that run in a container.
fn processes(container: &Outsider) -> String {
    outside(&["top", &container.id, "-o", "pid,args"])
}

#[tokio::test]
async fn a_program_runs_and_its_outputs_and_exit_code_come_back() {
    let lab = lab().await;
    let container = Outsider::run("exec", &["--env", "GREETING=hello"]);
    let script = r#"echo "$GREETING $NAME $(id -un) $PWD"; echo complaint >&2; exit 3"#;

    let done = run(
        &lab,
        &container.name,
        json!({
            "command": ["bash", "-c", script], "working_dir": "/tmp/./",
            "environment": { "NAME": "you" }, "user": "nobody", "timeout_seconds": 60, "max_bytes": 1000,
        }),
    )
    .await;

    let expected = json!({
        "exit_code": 3, "stdout": "hello you nobody /tmp\n", "stderr": "complaint\n",
        "truncated": false, "timed_out": false, "left_running": false,
    });
    assert_eq!(done, expected);
    let plain = run(&lab, &container.id[..12], json!({ "command": ["echo", "$HOME; *"] })).await;
    assert_eq!(
        (&plain["stdout"], &plain["exit_code"]),
        (&json!("$HOME; *\n"), &json!(0)),
        "no shell reads it"
    );
    let missing = run(&lab, &container.name, json!({ "command": ["/no/such/program"] })).await;
    let said = format!("{}{}", missing["stdout"], missing["stderr"]);
    assert!(missing["exit_code"] == 127 || missing["exit_code"] == 126, "{missing}");
    assert!(said.contains("/no/such/program"), "{missing}");
}

#[tokio::test]
async fn t11_t32_output_is_bounded_text_that_steers_nothing_and_shows_no_secret() {
    let lab = lab().await;
    let container = Outsider::run("output", &["--env", "DB_PASSWORD=correct-horse"]);
    let bash = |script: &str| json!({ "command": ["bash", "-c", script], "max_bytes": 1000 });

    let odd =
        run(&lab, &container.name, bash(r"printf 'a\xff\xfeb\033[31mred\033]0;x\007 %s' $DB_PASSWORD")).await;
    let long =
        run(&lab, &container.name, bash("head -c 100000 /dev/zero | tr '\\0' x; echo end >&2; exit 4")).await;
    let endless = run(&lab, &container.name, bash("exec cat /dev/zero")).await;
    let none = run(&lab, &container.name, json!({ "command": ["echo", "a"], "max_bytes": 0 })).await;

    assert_eq!(odd["stdout"], "a\u{fffd}\u{fffd}bred ********");
    // Which of two outputs comes first is the Engine's to say.
    let length = |output: &str| long[output].as_str().map_or(0, str::len);
    assert_eq!((length("stdout") + length("stderr"), &long["exit_code"]), (1000, &json!(4)));
    assert_eq!(long["truncated"], true);
    assert_eq!((&endless["truncated"], &endless["exit_code"]), (&json!(true), &Value::Null));
    assert_eq!((&endless["timed_out"], &endless["left_running"]), (&json!(false), &json!(false)));
    assert!(!processes(&container).contains("/dev/zero"), "{}", processes(&container));
    assert_eq!((&none["stdout"], &none["truncated"]), (&json!(""), &json!(true)));
}

#[tokio::test]
async fn t32_a_program_that_never_ends_is_ended_with_what_it_started_when_its_time_is_up() {
    let lab = lab().await;
    let container = Outsider::run("endless", &[]);
    let script = "trap '' TERM INT HUP; echo begun; sleep 3331 & sleep 3332";

    let body = json!({ "command": ["bash", "-c", script], "timeout_seconds": 1 });
    let done = run(&lab, &container.name, body).await;

    let expected = json!({
        "exit_code": null, "stdout": "begun\n", "stderr": "", "truncated": false, "timed_out": true,
        "left_running": false,
    });
    assert_eq!(done, expected);
    until(async || !processes(&container).contains("sleep 333")).await;
    assert_eq!(container.state(), "running");
}

#[tokio::test]
async fn what_a_program_leaves_in_the_background_holds_nobody() {
    let lab = lab().await;
    let container = Outsider::run("background", &[]);

    let body = json!({ "command": ["bash", "-c", "sleep 3333 & echo done"], "timeout_seconds": 600 });
    let done = run(&lab, &container.name, body).await;

    assert_eq!((&done["exit_code"], &done["stdout"]), (&json!(0), &json!("done\n")));
}

#[tokio::test]
async fn a_program_whose_caller_hangs_up_is_ended() {
    let lab = lab().await;
    let container = Outsider::run("hang-up", &[]);
    let body = json!({ "command": ["sleep", "3334"], "timeout_seconds": 600 });

    let call = tokio::spawn(lab.post(&path(&container.name), body).send());
    until(async || processes(&container).contains("sleep 3334")).await;
    call.abort();

    until(async || !processes(&container).contains("sleep 3334")).await;
}

#[tokio::test]
async fn a_program_does_not_hold_up_the_end_of_the_server() {
    let lab = lab().await;
    let container = Outsider::run("stop", &[]);
    let body = json!({ "command": ["sleep", "3335"], "timeout_seconds": 600 });
    let call = tokio::spawn(lab.post(&path(&container.name), body).send());
    until(async || processes(&container).contains("sleep 3335")).await;

    lab.homelab.settle().await;

    assert!(!processes(&container).contains("sleep 3335"));
    assert_eq!(call.await.expect("answered").data()["exit_code"], Value::Null);
}

/// Containers that somebody made outside, and the rule by which nothing is run in them.
fn beyond() -> Vec<(&'static [&'static str], &'static str)> {
    vec![
        (&["--privileged"], "powers.privileged"),
        (&["--volume", "/var/run/docker.sock:/var/run/docker.sock"], "mounts.engine-socket"),
        (&["--volume", "/var/run/docker.sock:/s:ro"], "mounts.engine-socket"),
        (&["--volume", "/:/host:ro"], "mounts.own-folder|mounts.system"),
        (&["--volume", "/etc:/host-etc:ro"], "mounts.system"),
        (&["--mount", "type=bind,source=/root,target=/r"], "mounts.outside-roots"),
        (&["--volume", "/tmp:/t:rshared"], "mounts.propagation|mounts.outside-roots"),
        (&["--pid", "host"], "namespaces.host"),
        (&["--ipc", "host"], "namespaces.host"),
        (&["--uts", "host"], "namespaces.host"),
        (&["--network", "host"], "namespaces.host"),
        (&["--cap-add", "SYS_ADMIN"], "powers.capabilities"),
        (&["--cap-add", "ALL"], "powers.capabilities"),
        (&["--cap-add", "NET_ADMIN"], "powers.capabilities"),
        (&["--device", "/dev/fuse"], "powers.devices"),
        (&["--device-cgroup-rule", "b *:* rwm"], "exec.unknown-state"),
        (&["--security-opt", "seccomp=unconfined"], "powers.security-options"),
        (&["--security-opt", "systempaths=unconfined"], "exec.unknown-state"),
        (&["--security-opt", "label=disable"], "powers.security-options"),
        (&["--cgroup-parent", "/claw-test"], "powers.cgroup-parent"),
        (&["--sysctl", "net.ipv4.ip_forward=1"], "powers.sysctls"),
        (&["--oom-score-adj", "-500"], "powers.oom-score"),
        (&["--ulimit", "rtprio=50"], "powers.ulimits"),
        (&["--publish", "127.0.0.1:977:80", "--network", "bridge"], "ports.low"),
    ]
}

#[tokio::test]
async fn t2_t4_nothing_is_run_in_a_container_that_nobody_could_make_here() {
    let lab = lab().await;
    let key = lab.key(&[Scope::ContainersExec]).await;

    for (options, rules) in beyond() {
        let container = Outsider::create("beyond", options);
        container.try_to_start();
        for key in [&key, &lab.admin] {
            let body = json!({ "command": ["touch", "/ran"] });
            let answer = lab.post(&path(&container.name), body).key(key).send().await;

            answer.assert_enveloped(403, "POLICY_REFUSED");
            let told = answer.text();
            assert!(rules.split('|').any(|rule| told.contains(&format!("({rule})"))), "{options:?}: {told}");
            assert!(told.contains("nothing is run in container"), "{told}");
        }
        assert_eq!(outside(&["diff", &container.id]).lines().find(|line| line.ends_with(" /ran")), None);
    }
}

#[tokio::test]
async fn t2_t4_neither_in_one_that_shares_with_another_or_has_what_is_ours() {
    let lab = lab().await;
    let other = Outsider::run("shared", &[]);
    let volume = format!("claw-home-{}", uuid_like());
    let of_other = |what: &str| format!("{what}:{}", other.name);
    let network = of_other("container");

    for (options, rule) in [
        (vec!["--network", &network], "namespaces.foreign"),
        (vec!["--pid", &network], "namespaces.foreign"),
        (vec!["--volume", &format!("{volume}:/home")], "mounts.own-volume"),
    ] {
        let container = Outsider::run("sharing", &options);
        let answer = lab.post(&path(&container.id), json!({ "command": ["true"] })).send().await;

        answer.assert_enveloped(403, "POLICY_REFUSED");
        assert!(answer.text().contains(rule), "{options:?}: {}", answer.text());
        drop(container);
    }
    outside(&["volume", "rm", "--force", &volume]);
}

fn uuid_like() -> String {
    let digits = unique("x")
        .bytes()
        .map(|byte| char::from(b"0123456789abcdef"[usize::from(byte % 16)]))
        .collect::<String>();
    format!("{}-1111-7111-8111-{:0>12}", &digits[10..18], &digits[18..30])
}

#[tokio::test]
async fn an_ordinary_container_of_somebody_else_is_fine() {
    let lab = lab().await;
    let volume = unique("data");
    let mount = format!("{volume}:/data");
    for options in [
        &["--network", "bridge", "--publish", "127.0.0.1:0:80"][..],
        &[
            "--volume",
            &mount,
            "--volume",
            "/anonymous",
            "--tmpfs",
            "/scratch",
            "--mount",
            "type=tmpfs,target=/t",
        ],
        &[
            "--cap-drop",
            "ALL",
            "--read-only",
            "--memory",
            "128m",
            "--pids-limit",
            "50",
            "--user",
            "1000:1000",
        ],
        &[
            "--restart",
            "always",
            "--label",
            "com.docker.compose.project=x",
            "--log-driver",
            "none",
            "--shm-size",
            "3g",
        ],
        &[
            "--security-opt",
            "no-new-privileges",
            "--ulimit",
            "nofile=1024",
            "--volume",
            "/etc/localtime:/etc/localtime:ro",
        ],
    ] {
        let container = Outsider::run("ordinary", options);

        let done = run(&lab, &container.id, json!({ "command": ["echo", "fine"] })).await;

        assert_eq!(done["stdout"], "fine\n", "{options:?}: {done}");
    }
    outside(&["volume", "rm", "--force", &volume]);
}

#[tokio::test]
async fn one_made_here_is_fine() {
    let lab = lab().await;
    let name = Named::new("own-exec");
    let body = json!({ "image": IMAGE, "name": name.0, "command": ["sleep", "600"], "volumes": [] });
    lab.post("/api/containers", body).send().await.data();

    let done = run(&lab, &name.0, json!({ "command": ["true"], "user": "1000" })).await;

    assert_eq!(done["exit_code"], 0);
}

#[tokio::test]
async fn t4_what_an_app_has_beyond_the_policy_is_not_for_those_who_run_programs_in_it() {
    let lab = lab().await;
    let name = Named::new("app-exec");
    let new = json!({
        "app_id": "gluetun", "container_name": name.0, "environment": { "VPN_SERVICE_PROVIDER": "mullvad" },
    });
    let app = lab.post("/api/marketplace/create", new).send().await.data();
    let install = format!("claw.install={}", app["install_id"].as_str().expect("an id"));
    let (agent, body) = (lab.key(&[Scope::ContainersExec]).await, json!({ "command": ["echo", "fine"] }));
    // As Compose would make it of the image, which is not here.
    let make = |name: &str| {
        let arguments =
            ["create", "--name", name, "--label", &install, "--cap-add", "NET_ADMIN", IMAGE, "sleep", "600"];
        outside(&arguments);
        Named(name.to_owned())
    };
    let (_app, other) = (make(&name.0), make(&unique("pretender")));

    let by_agent = lab.post(&path(&name.0), body.clone()).key(&agent).send().await;
    let by_admin = lab.post(&path(&name.0), body.clone()).send().await;
    let pretended = lab.post(&path(&other.0), body).send().await;

    by_agent.assert_enveloped(403, "POLICY_REFUSED");
    assert!(by_agent.text().contains("powers.capabilities"), "{}", by_agent.text());
    by_admin.assert_enveloped(409, "CONFLICT");
    pretended.assert_enveloped(403, "POLICY_REFUSED");
}

#[tokio::test]
async fn a5_nothing_is_run_in_what_is_ours_by_whatever_name() {
    let name = unique("own-exec");
    let mut names = own();
    names.names.push(name.clone());
    let lab = lab_with(Options { own: names, ..Options::default() }).await;
    let sandbox = Outsider::run("sandbox", &["--label", "claw.job=0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000"]);
    let named = Outsider::run("named", &[]);
    outside(&["rename", &named.id, &name]);

    for container in [&sandbox.name, &sandbox.id, &name, &named.id, &named.id[..12].to_owned()] {
        let answer = lab.post(&path(container), json!({ "command": ["true"] })).send().await;
        answer.assert_enveloped(403, "PROTECTED");
    }
}

#[tokio::test]
async fn t8_what_is_judged_is_what_it_runs_in_when_names_change_hands() {
    let lab = lab().await;
    let (harmless, powerful) = (Outsider::run("swap", &[]), Outsider::run("swap", &["--pid", "host"]));
    let (first, second) = (unique("first"), unique("second"));
    outside(&["rename", &harmless.id, &first]);
    outside(&["rename", &powerful.id, &second]);
    let body = json!({ "command": ["touch", "/ran"] });

    let swapping = tokio::task::spawn_blocking({
        let (harmless, powerful, first, second) =
            (harmless.id.clone(), powerful.id.clone(), first.clone(), second.clone());
        move || {
            for _ in 0..4 {
                let spare = unique("spare");
                outside(&["rename", &harmless, &spare]);
                outside(&["rename", &powerful, &first]);
                outside(&["rename", &powerful, &second]);
                outside(&["rename", &harmless, &first]);
            }
        }
    });
    while !swapping.is_finished() {
        let answer = lab.post(&path(&first), body.clone()).send().await;
        assert!([200, 403, 404].contains(&answer.status.as_u16()), "{}", answer.text());
    }
    swapping.await.expect("swapped");

    assert_eq!(outside(&["diff", &powerful.id]).lines().find(|line| line.ends_with(" /ran")), None);
}

#[tokio::test]
async fn what_does_not_run_is_said_so() {
    let lab = lab().await;
    let (created, paused) = (Outsider::create("created", &[]), Outsider::run("paused", &[]));
    outside(&["pause", &paused.id]);

    for container in [&created, &paused] {
        let answer = lab.post(&path(&container.name), json!({ "command": ["true"] })).send().await;
        answer.assert_enveloped(409, "CONFLICT");
        assert!(answer.text().contains("start it first"), "{}", answer.text());
    }
    outside(&["unpause", &paused.id]);
}

#[tokio::test]
async fn a15_t4_odd_descriptions_and_names_run_nothing() {
    let lab = lab().await;
    let container = Outsider::run("odd", &[]);

    for body in [
        json!({}),
        json!({ "command": [] }),
        json!({ "command": [""] }),
        json!({ "command": "touch /ran" }),
        json!({ "command": ["touch", 1] }),
        json!({ "Command": ["touch", "/ran"] }),
        json!({ "command": ["touch", "/ran"], "privileged": true }),
        json!({ "command": ["touch", "/ran"], "Privileged": true }),
        json!({ "command": ["touch", "/ran"], "tty": true }),
        json!({ "command": ["touch", "/ran"], "detach_keys": "ctrl-p" }),
        json!({ "command": ["touch", "/ran"], "timeout_seconds": 0 }),
        json!({ "command": ["touch", "/ran"], "timeout_seconds": 601 }),
        json!({ "command": ["touch", "/ran"], "timeout_seconds": -1 }),
        json!({ "command": ["touch", "/ran"], "max_bytes": 1_048_577 }),
        json!({ "command": ["touch", "/ran"], "environment": ["A=b"] }),
        json!({ "command": ["touch", "/ran\u{0}"] }),
        json!({ "command": ["touch", "/ran"], "environment": { "A": "b\u{0}" } }),
        json!([]),
    ] {
        lab.post(&path(&container.name), body).send().await.assert_enveloped(400, "INVALID_REQUEST");
    }
    for (body, rule) in [
        (json!({ "command": ["touch", "/ran"], "environment": { "A=B": "c" } }), "environment.form"),
        (json!({ "command": ["touch", "/ran"], "user": "root:root:root" }), "process.user"),
        (json!({ "command": ["touch", "/ran"], "user": "-u" }), "process.user"),
        (json!({ "command": ["touch", "/ran"], "working_dir": "/proc/self/fd/8" }), "process.working-dir"),
        (json!({ "command": ["touch", "/ran"], "working_dir": "../../etc" }), "process.working-dir"),
    ] {
        let answer = lab.post(&path(&container.name), body).send().await;
        answer.assert_enveloped(403, "POLICY_REFUSED");
        assert!(answer.text().contains(rule), "{}", answer.text());
    }
    for odd in ["-a", "--help", "%2e%2e", "a%2F..%2Fb", "x%3Fforce=1", "x%00", "%20"] {
        let answer = lab.post(&path(odd), json!({ "command": ["true"] })).send().await;
        answer.assert_enveloped(404, "NOT_FOUND");
    }
    let options = lab.call(Method::OPTIONS, &path(&container.name)).send().await;
    assert_eq!(options.status.as_u16(), 204);
    // An argument that looks like an option is one of the program's own.
    let done = run(&lab, &container.name, json!({ "command": ["echo", "--privileged", "-it"] })).await;
    assert_eq!(done["stdout"], "--privileged -it\n");
    assert_eq!(outside(&["diff", &container.id]).lines().find(|line| line.ends_with(" /ran")), None);
}

#[tokio::test]
async fn t12_the_trail_tells_who_ran_what_and_no_argument() {
    let lab = lab().await;
    let container = Outsider::run("trail", &[]);
    let reader = lab.key(&[Scope::ContainersRead, Scope::ContainersWrite, Scope::ContainersDelete]).await;
    let body = json!({ "command": ["/bin/echo", "hunter2"], "environment": { "TOKEN": "hunter3" } });

    run(&lab, &container.name, body.clone()).await;
    let denied = lab.post(&path(&container.name), body).key(&reader).send().await;

    denied.assert_enveloped(403, "SCOPE_REQUIRED");
    assert!(denied.text().contains("containers:exec"), "{}", denied.text());
    let trail = lab.get("/api/v1/audit?verb=container.exec").send().await.text();
    let trail: Value = serde_json::from_str(&trail).expect("JSON");
    let entries = trail["items"].as_array().expect("entries");
    assert_eq!(entries.len(), 2, "{trail}");
    let done = entries.iter().find(|entry| entry["outcome"] == "done" || entry["outcome"] == "success");
    let done = done.unwrap_or_else(|| panic!("{trail}"));
    assert_eq!(done["target"], format!("container:{}", container.id));
    assert_eq!((&done["detail"]["program"], &done["detail"]["arguments"]), (&json!("echo"), &json!(1)));
    assert!(!trail.to_string().contains("hunter"), "{trail}");
}

#[tokio::test]
async fn t32_more_programs_than_there_is_room_for_are_refused() {
    let lab = lab().await;
    let container = Outsider::run("room", &[]);
    let sleeping = || json!({ "command": ["sleep", "3336"], "timeout_seconds": 600 });
    let mut calls: Vec<_> =
        (0..16).map(|_| tokio::spawn(lab.post(&path(&container.name), sleeping()).send())).collect();
    until(async || processes(&container).matches("sleep 3336").count() == 16).await;

    let answer = lab.post(&path(&container.name), json!({ "command": ["true"] })).send().await;

    answer.assert_enveloped(429, "RATE_LIMITED");
    calls.drain(..).for_each(|call| call.abort());
    until(async || !processes(&container).contains("sleep 3336")).await;
}

#[tokio::test]
async fn what_a_container_uses_is_told() {
    let lab = lab().await;
    let (busy, idle) =
        (Outsider::with_script("stats", &[], "while :; do :; done"), Outsider::create("idle", &[]));
    outside(&["start", &busy.id]);

    let stats = lab.get(&format!("/api/containers/{}/stats", busy.name)).send().await.data();
    let nothing = lab.get(&format!("/api/containers/{}/stats", idle.name)).send().await.data();

    assert!(stats["memory_bytes"].as_u64() > Some(0) && stats["pids"].as_u64() > Some(0), "{stats}");
    assert!(stats["memory_limit_bytes"].as_u64() > stats["memory_bytes"].as_u64(), "{stats}");
    assert_eq!((&nothing["memory_bytes"], &nothing["cpu_percent"]), (&json!(0), &json!(0.0)));
    lab.get("/api/containers/claw-test-none/stats").send().await.assert_enveloped(404, "NOT_FOUND");
}
