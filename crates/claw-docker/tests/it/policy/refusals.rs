//! Attempts to get more than an app may have. None passes, and each is refused by the rule that was meant for it.

use std::collections::{BTreeMap, BTreeSet};

use claw_core::{Coded, ErrorCode};
use claw_docker::policy::{
    ContainerWish, DeviceWish, Facts, Grants, NetworkWish, Policy, RULES, Refused, SocketGrant,
    corpus::{
        attempts,
        world::{bind, facts, pairs, plain, texts},
    },
};

/// Everything that can be permitted.
fn most_generous() -> Policy {
    Policy::parse(
        "mounts = { nested = true, docker_socket = true, volumes = ['bound-root', 'bound-apps', 'disk', 'share', 'cloud'], \
           roots = [{ path = '/opt' }, { path = '/mnt' }, { path = '/media' }, { path = '/tmp' }, { path = '/srv' }, \
           { path = '/root' }, { path = '/home' }, { path = '/host' }, { path = '/var/log' }] }\n\
         ports.low = [1, 22, 25, 53, 67, 80, 111, 139, 389, 443, 445, 514, 631, 853, 1023]\n\
         networks = { drivers = ['bridge', 'macvlan', 'overlay', 'host', 'null'], subnets = ['0.0.0.0/0', '::/0'] }\n\
         namespaces.host = ['network', 'pid', 'ipc', 'uts', 'user', 'cgroup']\n\
         powers = { capabilities = ['NET_ADMIN', 'NET_RAW', 'MKNOD', 'AUDIT_WRITE', 'SYS_PTRACE', 'SYS_TIME', 'SYS_NICE', \
           'SYS_RESOURCE', 'IPC_LOCK', 'LINUX_IMMUTABLE'], devices = ['/dev/sda', '/dev/dri', '/dev/net/tun', '/dev/kvm'], \
           gpus = true, sysctls = ['net.ipv4.ip_forward', 'kernel.core_pattern', 'vm.swappiness'], runtimes = ['runsc'], \
           new_privileges = true }\n\
         labels.allowed = ['traefik', 'caddy', 'claw', 'com.docker', 'wagmios', 'io.podman']\n\
         limits = { pids = 4294967295, shm = '1000t', tmpfs = '1000t' }\n\
         log = { drivers = ['json-file', 'local', 'none', 'syslog'], most = '1000t' }",
    )
    .expect("readable")
}

fn verdict(policy: &Policy, wish: &ContainerWish) -> Result<ContainerWish, Refused> {
    policy.judge(wish, &facts(wish), &Grants::default()).map(|approved| approved.wish().clone())
}

#[test]
fn t1_t2_t3_t7_t8_no_attempt_passes_and_each_is_refused_by_its_rule() {
    let corpus = attempts();
    assert!(corpus.len() >= 200, "{} attempts", corpus.len());
    let mut wrong = Vec::new();
    for attempt in &corpus {
        let policy = Policy::parse(attempt.policy).expect("readable");
        match verdict(&policy, &attempt.wish) {
            Ok(_) => wrong.push(format!("{} passes", attempt.name)),
            Err(refused) => {
                let rules: BTreeSet<_> = refused.refusals.iter().map(|refusal| refusal.rule).collect();
                if rules != BTreeSet::from([attempt.rule]) {
                    wrong.push(format!("{} is refused by {rules:?}: {refused}", attempt.name));
                }
            }
        }
    }

    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
}

#[test]
fn every_rule_is_the_one_that_refuses_some_attempt() {
    let tried: BTreeSet<_> =
        attempts().iter().map(|attempt| attempt.rule).chain(NETWORK_RULES).chain(IMAGE_RULES).collect();

    // Those of programs that are run in containers are tried where these are judged.
    for rule in RULES.iter().filter(|rule| !rule.id.starts_with("exec.")) {
        assert!(tried.contains(rule.id), "nobody tries {}", rule.id);
    }
}

#[test]
fn the_line_that_a_refusal_names_permits_what_was_refused() {
    let mut lines = 0;
    for attempt in attempts() {
        let policy = Policy::parse(attempt.policy).expect("readable");
        let Err(refused) = verdict(&policy, &attempt.wish) else { panic!("{} passes", attempt.name) };
        for refusal in refused.refusals {
            let Some(permit) = refusal.permit else { continue };
            let permitting =
                Policy::parse(&permit).unwrap_or_else(|error| panic!("{}: {permit}: {error}", attempt.name));
            let still =
                verdict(&permitting, &attempt.wish).err().map(|refused| refused.refusals).unwrap_or_default();
            let still = still.iter().find(|other| other.rule == refusal.rule && other.field == refusal.field);
            assert!(still.is_none(), "{}: {permit}: {still:?}", attempt.name);
            lines += 1;
        }
    }

    assert!(lines > 60, "{lines}");
}

#[test]
fn what_no_line_permits_stays_refused_under_the_most_generous_policy() {
    let generous = most_generous();
    for attempt in attempts().into_iter().filter(|attempt| attempt.policy.is_empty()) {
        let Err(refused) = verdict(&Policy::default(), &attempt.wish) else {
            panic!("{} passes", attempt.name)
        };
        // A path may be refused for another reason once the folder around it is permitted.
        let never = refused.refusals.iter().any(|refusal| refusal.permit.is_none());
        if never {
            let passes = verdict(&generous, &attempt.wish).is_ok();
            assert!(!passes || attempt.name.contains("link-to-"), "{} passes", attempt.name);
        }
    }
}

#[test]
fn refusals_have_the_code_of_what_was_refused() {
    for attempt in attempts() {
        let policy = Policy::parse(attempt.policy).expect("readable");
        let Err(refused) = verdict(&policy, &attempt.wish) else { panic!("{} passes", attempt.name) };
        let expected = match attempt.rule {
            rule if rule.starts_with("mounts.") => ErrorCode::BlockedVolume,
            "name.protected" => ErrorCode::Protected,
            _ => ErrorCode::PolicyRefused,
        };
        assert_eq!(refused.code(), expected, "{}", attempt.name);
    }
    let mut both = plain();
    both.privileged = true;
    both.mounts.push(bind("/etc"));
    let refused = verdict(&Policy::default(), &both).expect_err("refused");
    assert_eq!(refused.code(), ErrorCode::PolicyRefused);
    assert_eq!(refused.refusals.len(), 2);
}

#[test]
fn t11_no_refusal_repeats_what_could_forge_a_line() {
    for attempt in attempts() {
        let policy = Policy::parse(attempt.policy).expect("readable");
        let Err(refused) = verdict(&policy, &attempt.wish) else { panic!("{} passes", attempt.name) };
        let text = refused.to_string();
        assert!(
            !text.chars().any(|c| c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}')),
            "{text:?}"
        );
        assert!(text.len() < 4096, "{}: {} bytes", attempt.name, text.len());
        for refusal in &refused.refusals {
            assert!(!refusal.field.chars().any(char::is_control), "{refusal:?}");
            assert!(
                refusal.permit.as_ref().is_none_or(|permit| !permit.chars().any(char::is_control)),
                "{refusal:?}"
            );
        }
    }
}

/// What images are refused by.
const IMAGE_RULES: [&str; 2] = ["image.labels", "image.working-dir"];

const NETWORK_RULES: [&str; 6] = [
    "networks.form",
    "networks.own",
    "networks.driver",
    "networks.options",
    "networks.subnet",
    "labels.reserved",
];

#[test]
fn t3_networks_that_reach_the_host_are_not_made() {
    let network = |change: &dyn Fn(&mut NetworkWish)| {
        let mut wish = NetworkWish { name: "shop_default".to_owned(), ..Default::default() };
        change(&mut wish);
        wish
    };
    let facts = Facts { own: claw_docker::policy::Own::default(), ..Default::default() };
    let policy = Policy::default();
    let plain = policy.judge_network(&network(&|_| {}), &facts).expect("permitted");
    assert_eq!(plain.wish().driver.as_deref(), Some("bridge"));

    let mut attempts: Vec<(&str, NetworkWish)> = Vec::new();
    for name in ["", "host", "Host", "none", "bridge", "default", "container:x", "a/b", "-a"] {
        attempts.push(("networks.form", network(&|wish| wish.name = name.to_owned())));
    }
    for name in ["clawmachine", "ClawMachine_default"] {
        attempts.push(("networks.own", network(&|wish| wish.name = name.to_owned())));
    }
    for driver in ["host", "null", "macvlan", "ipvlan", "overlay", "weave", "Bridge"] {
        let rule = "networks.driver";
        attempts.push((rule, network(&|wish| wish.driver = Some(driver.to_owned()))));
    }
    for (key, value) in [
        ("com.docker.network.bridge.name", "docker0"),
        ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
        ("com.docker.network.bridge.gateway_mode_ipv4", "routed"),
        ("com.docker.network.bridge.trusted_host_interfaces", "eth0"),
        ("com.docker.network.driver.mtu", "0"),
        ("com.docker.network.driver.mtu", "-1"),
        ("parent", "eth0"),
        ("encrypted", ""),
    ] {
        attempts.push(("networks.options", network(&|wish| wish.options = pairs(&[(key, value)]))));
    }
    for subnet in ["0.0.0.0/0", "192.168.1.0/24", "8.8.8.0/24", "10.0.0.0/8", "::/0", "x", "10.0.0.0"] {
        attempts.push(("networks.subnet", network(&|wish| wish.subnets = texts(&[subnet]))));
    }
    attempts.push((
        "labels.reserved",
        network(&|wish| wish.labels = pairs(&[("com.docker.compose.network", "x")])),
    ));
    for (rule, wish) in &attempts {
        let refused = policy.judge_network(wish, &facts).expect_err(rule);
        let rules: Vec<_> = refused.refusals.iter().map(|refusal| refusal.rule).collect();
        assert_eq!(rules, [*rule], "{wish:?}");
        for permit in refused.refusals.iter().filter_map(|refusal| refusal.permit.as_deref()) {
            let permitting = Policy::parse(permit).expect(permit);
            assert!(permitting.judge_network(wish, &facts).is_ok(), "{permit}");
        }
    }
    let permitting = Policy::parse("networks.subnets = ['172.28.0.0/14']").expect("readable");
    let inside = network(&|wish| wish.subnets = texts(&["172.29.1.0/24"]));
    assert!(permitting.judge_network(&inside, &facts).is_ok());
    let outside = network(&|wish| wish.subnets = texts(&["172.27.0.0/16"]));
    assert!(permitting.judge_network(&outside, &facts).is_err());
}

#[test]
fn t2_grants_widen_what_they_name_and_nothing_beside_it() {
    let policy = Policy::default();
    let grants = Grants {
        cap_add: texts(&["NET_ADMIN", "SYS_ADMIN"]),
        devices: texts(&["/dev/net/tun"]),
        sysctls: pairs(&[("net.ipv4.conf.all.src_valid_mark", "1")]),
        host_network: true,
        docker_socket: Some(SocketGrant::ReadOnly),
        host_paths_read_only: texts(&["/lib/modules"]),
        reason: Some("a tunnel".to_owned()),
    };
    let judge = |change: &dyn Fn(&mut ContainerWish)| {
        let mut wish = plain();
        change(&mut wish);
        let with = policy.judge(&wish, &facts(&wish), &grants);
        let without = policy.judge(&wish, &facts(&wish), &Grants::default());
        assert!(without.is_err(), "{wish:?}");
        with.map_err(|refused| refused.refusals.iter().map(|refusal| refusal.rule).collect::<Vec<_>>())
    };
    let device = |host: &str| DeviceWish { host: host.to_owned(), container: None, permissions: None };
    let reading = |path: &str, read_only| {
        let mut mount = bind(path);
        mount.read_only = read_only;
        mount
    };
    let sysctl =
        |value: &str| BTreeMap::from([("net.ipv4.conf.all.src_valid_mark".to_owned(), value.to_owned())]);

    assert!(judge(&|wish| wish.cap_add = texts(&["CAP_NET_ADMIN"])).is_ok());
    assert!(judge(&|wish| wish.devices = vec![device("/dev/net/tun")]).is_ok());
    assert!(judge(&|wish| wish.sysctls = sysctl("1")).is_ok());
    assert!(judge(&|wish| wish.network_mode = Some("host".to_owned())).is_ok());
    assert!(judge(&|wish| wish.mounts = vec![reading("/var/run/docker.sock", true)]).is_ok());
    assert!(judge(&|wish| wish.mounts = vec![reading("/lib/modules", true)]).is_ok());

    let refused =
        |change: &dyn Fn(&mut ContainerWish), rule: &str| assert_eq!(judge(change).expect_err(rule), [rule]);
    refused(&|wish| wish.cap_add = texts(&["NET_RAW"]), "powers.capabilities");
    refused(&|wish| wish.cap_add = texts(&["SYS_ADMIN"]), "powers.capabilities");
    refused(&|wish| wish.devices = vec![device("/dev/net/tun2")], "powers.devices");
    refused(&|wish| wish.devices = vec![device("/dev/net")], "powers.devices");
    refused(&|wish| wish.sysctls = sysctl("0"), "powers.sysctls");
    refused(&|wish| wish.pid = Some("host".to_owned()), "namespaces.host");
    refused(&|wish| wish.mounts = vec![reading("/var/run/docker.sock", false)], "mounts.engine-socket");
    refused(
        &|wish| wish.mounts = vec![reading("/run/containerd/containerd.sock", true)],
        "mounts.engine-socket",
    );
    refused(&|wish| wish.mounts = vec![reading("/lib/modules", false)], "mounts.read-only");
    refused(&|wish| wish.mounts = vec![reading("/lib/modules/6.1", true)], "mounts.system");
    refused(&|wish| wish.mounts = vec![reading("/lib", true)], "mounts.system");
    refused(&|wish| wish.privileged = true, "powers.privileged");
}
