//! What a hostile agent finds: as seen from inside, and as shown to whoever looks from outside.

use claw_agent::sandbox::{Limits, Sandbox, SandboxSpec};
use claw_core::NetworkMode;

use crate::lab::Lab;

#[tokio::test]
async fn s5_no_capability_no_new_privilege_and_a_filter_on_system_calls() {
    let lab = Lab::new().await;

    let lines = lab
        .lines("grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status")
        .await;

    let none = "0000000000000000";
    let expected = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| format!("{name}:\t{none}"));
    assert_eq!(lines[..5], expected);
    assert_eq!(lines[5..], ["NoNewPrivs:\t1", "Seccomp:\t2"]);
}

#[tokio::test]
async fn s5_only_the_working_copy_home_and_tmp_can_be_written() {
    let lab = Lab::new().await;

    let lines = lab
        .lines(
            r#"for folder in / /etc /usr/local/bin /var/tmp /run /run/claw /opt /sys /proc /workspace "$HOME" /tmp; do
                   if (: >"$folder/probe") 2>/dev/null; then echo "$folder yes"; else echo "$folder no"; fi
               done"#,
        )
        .await;

    let no = ["/", "/etc", "/usr/local/bin", "/var/tmp", "/run", "/run/claw", "/opt", "/sys", "/proc"];
    assert_eq!(lines[..no.len()], no.map(|folder| format!("{folder} no")));
    assert_eq!(lines[no.len()..], ["/workspace yes", "/home/claw yes", "/tmp yes"]);
    assert!(lab.work_dir.path().join("probe").exists(), "the working copy is the host's folder");
}

#[tokio::test]
async fn the_user_is_nobody_of_the_host_and_owns_what_it_writes() {
    use std::os::unix::fs::MetadataExt;
    let lab = Lab::new().await;
    let (user, group) = lab.sandbox.owner().expect("these tests run as root");

    let lines = lab.lines("id -u; id -g; touch mine; mkdir -p folder; pwd; ulimit -c").await;

    assert_eq!(lines, [&user.to_string(), &group.to_string(), "/workspace", "0"]);
    assert_ne!(user, 0);
    let file = lab.work_dir.path().join("mine").metadata().expect("written");
    assert_eq!((file.uid(), file.gid()), (user, group));
}

#[tokio::test]
async fn t28_without_network_there_is_loopback_alone() {
    let lab = Lab::new().await;

    let lines = lab
        .lines(
            "ls /sys/class/net; (exec 3<>/dev/tcp/172.17.0.1/80) 2>&1 | grep -o 'Network is unreachable' | head -1;
             cat /proc/net/route | wc -l",
        )
        .await;

    assert_eq!(lines, ["lo", "Network is unreachable", "1"]);
}

#[tokio::test]
async fn the_bridge_is_there_for_who_asks_for_it() {
    let lab = Lab::new().await;
    let spec = SandboxSpec { network: NetworkMode::Bridge, ..lab.spec("ls /sys/class/net | xargs") };

    let said = lab.run(spec).await;

    assert_eq!(said.stdout, ["eth0 lo"]);
}

#[tokio::test]
async fn namespaces_are_its_own_and_devices_and_the_engine_are_out_of_reach() {
    let lab = Lab::new().await;

    let lines = lab
        .lines(
            "ls /dev | grep -v ^core | xargs; ls /var/run/docker.sock /run/containerd 2>&1 | grep -c 'No such file';
             for space in ipc mnt net pid uts cgroup; do readlink /proc/self/ns/$space; done",
        )
        .await;

    assert_eq!(lines[0], "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero");
    assert_eq!(lines[1], "2");
    for (space, inside) in ["ipc", "mnt", "net", "pid", "uts", "cgroup"].iter().zip(&lines[2..]) {
        let ours = std::fs::read_link(format!("/proc/self/ns/{space}")).expect("Linux");
        assert_ne!(ours.to_str(), Some(inside.as_str()), "{space}");
    }
}

#[tokio::test]
async fn t27_a_fork_bomb_runs_into_the_limit() {
    let lab = Lab::new().await;
    let script = r#"exec python3 -c '
import os, time
count = 0
try:
    while count < 1000:
        if os.fork() == 0:
            time.sleep(600)
        count += 1
except OSError as error:
    print(count < 32, error.strerror)
'"#;
    let limits = Limits { memory_bytes: 256 << 20, cpus: 1.0, pids: 32 };

    let said = lab.run(SandboxSpec { limits, ..lab.spec(script) }).await;

    assert_eq!(said.stdout, ["True Resource temporarily unavailable"], "{said:?}");
    assert_eq!(said.exit.code, 0);
}

#[tokio::test]
async fn t27_a_process_that_takes_too_much_memory_is_ended_and_the_run_goes_on() {
    let lab = Lab::new().await;
    let script = "python3 -c 'held = bytearray(300 << 20)'; echo $?; echo still here";

    let said = lab.run(lab.spec(script)).await;

    assert_eq!(said.stdout, ["137", "still here"], "{said:?}");
    assert_eq!(said.exit.code, 0);
    assert!(said.exit.out_of_memory);
}

#[tokio::test]
async fn t27_tmp_runs_programs_and_is_bounded() {
    let lab = Lab::new().await;

    let lines = lab
        .lines(
            "cp /bin/true /tmp/program && /tmp/program && echo runs;
             head -c 200M /dev/zero 2>/dev/null >/tmp/big || echo full; rm /tmp/big;
             stat -c %a /tmp; df --output=size -B1 /tmp | tail -1",
        )
        .await;

    assert_eq!(lines, ["runs", "full", "1777", "134217728"]);
}

#[tokio::test]
async fn t27_the_processors_are_bounded() {
    let lab = Lab::new().await;
    let limits = Limits { memory_bytes: 256 << 20, cpus: 0.5, pids: 64 };
    let script = "if [ -f /sys/fs/cgroup/cpu.max ]; then cat /sys/fs/cgroup/cpu.max;
        else echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us); fi";

    let said = lab.run(SandboxSpec { limits, ..lab.spec(script) }).await;

    assert_eq!(said.stdout, ["50000 100000"], "{said:?}");
}

#[tokio::test]
async fn the_environment_holds_what_the_cli_needs_and_no_secret() {
    let lab = Lab::new().await;
    let environment = vec![("CLAW_TOPIC".to_owned(), "a b=c".to_owned())];
    let spec =
        SandboxSpec { environment, ..lab.spec("env -0 | sort -z | tr '\\0' '\\n' | grep -vE '^(_|SHLVL)='") };
    let job = spec.job;

    let said = lab.run(spec).await;

    assert_eq!(
        said.stdout,
        [
            "ANTHROPIC_API_KEY=held-by-the-gateway".to_owned(),
            "ANTHROPIC_BASE_URL=http://localhost".to_owned(),
            "ANTHROPIC_UNIX_SOCKET=/run/claw/api.sock".to_owned(),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1".to_owned(),
            format!("CLAW_JOB_ID={job}"),
            "CLAW_TOPIC=a b=c".to_owned(),
            "DISABLE_AUTOUPDATER=1".to_owned(),
            "HOME=/home/claw".to_owned(),
            format!("HOSTNAME={}", hostname(&said.stdout)),
            "LANG=C.UTF-8".to_owned(),
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            "PWD=/workspace".to_owned(),
        ]
    );
}

fn hostname(lines: &[String]) -> &str {
    lines.iter().find_map(|line| line.strip_prefix("HOSTNAME=")).expect("the Engine sets it")
}

#[tokio::test]
async fn s12_what_goes_in_over_stdin_is_not_shown_to_who_inspects_the_container() {
    let lab = Lab::new().await;
    let stdin = b"canary-3141592653".to_vec();
    let spec = SandboxSpec { stdin, ..lab.spec("cat; sleep 600") };
    let name = format!("claw-job-{}-1", spec.job);
    let mut run = lab.start(spec).await;
    let client = bollard::Docker::connect_with_host(&crate::lab::engine()).expect("an Engine");

    let seen = client.inspect_container(&name, None).await.expect("inspected");
    run.stop(std::time::Duration::ZERO).await.expect("stopped");
    run.remove().await.expect("removed");

    let text = format!("{seen:?}");
    assert!(!text.contains("canary"), "{text}");
    let host = seen.host_config.expect("shown");
    assert_eq!(host.privileged, Some(false));
    assert_eq!(host.cap_add, None);
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(host.memory, host.memory_swap, "no swap");
    assert_eq!(host.init, Some(true));
    let health =
        seen.config.as_ref().and_then(|config| config.healthcheck.as_ref()).and_then(|it| it.test.clone());
    assert_eq!(health, Some(vec!["NONE".to_owned()]), "the Engine runs nothing beside the agent");
    assert_eq!(host.network_mode.as_deref(), Some("none"));
    assert_eq!(host.log_config.expect("shown").typ.as_deref(), Some("none"));
    assert_eq!(seen.config.expect("shown").tty, Some(false));
    let mut mounts: Vec<_> = seen
        .mounts
        .expect("shown")
        .into_iter()
        .map(|mount| (mount.destination.expect("shown"), mount.rw.expect("shown")))
        .collect();
    mounts.sort();
    let expected = [("/home/claw", true), ("/run/claw", false), ("/workspace", true)];
    assert_eq!(mounts, expected.map(|(path, write)| (path.to_owned(), write)));
}
