//! Compose files that want more than they may have, or that mean two things.

/// A compose file that is refused.
#[derive(Clone, Debug)]
pub struct File {
    /// What is special about it.
    pub name: &'static str,
    /// The file.
    pub text: String,
    /// A part of the reason that is told.
    pub because: &'static str,
}

/// Returns every file.
pub fn files() -> Vec<File> {
    [
        other_files(),
        running(),
        spellings(),
        environment(),
        mounts(),
        powers(),
        namespaces(),
        passing_for_others(),
    ]
    .concat()
}

/// A file with one service that has these lines too.
fn service(name: &'static str, lines: &str, because: &'static str) -> File {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    File { name, text: format!("services:\n  web:\n    image: nginx:1.27\n{lines}"), because }
}

/// A file with a harmless service and these lines.
fn file(name: &'static str, lines: &str, because: &'static str) -> File {
    File { name, text: format!("services:\n  web:\n    image: nginx:1.27\n{lines}"), because }
}

fn whole(name: &'static str, file: impl Into<String>, because: &'static str) -> File {
    File { name, text: file.into(), because }
}

fn bomb() -> String {
    let mut file = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let last = level - 1;
        file.push_str(&format!("a{level}: &a{level} [{}]\n", format!("*a{last},").repeat(9)));
    }
    file + "services: *a11\n"
}

fn other_files() -> Vec<File> {
    vec![
        file("include", "include: [../other.yaml]\n", "`include` is not taken"),
        file(
            "include of a registry",
            "include: [\"oci://registry.example/app:1\"]\n",
            "`include` is not taken",
        ),
        file(
            "include, long",
            "include:\n  - path: https://example.org/compose.yaml\n",
            "`include` is not taken",
        ),
        service("extends a file", "extends: {file: /etc/passwd, service: web}", "`extends` is not taken"),
        service("extends a service", "extends: {service: other}", "`extends` is not taken"),
        service("env_file", "env_file: /etc/shadow", "`env_file` is not taken"),
        service("env_file, list", "env_file: [.env, ../../claw.db]", "`env_file` is not taken"),
        service(
            "env_file, long",
            "env_file:\n  - path: /proc/1/environ\n    required: false",
            "`env_file` is not taken",
        ),
        service("label_file", "label_file: /etc/shadow", "`label_file` is not taken"),
        file("configs with a file", "configs: {a: {file: /etc/shadow}}\n", "`configs` is not taken"),
        file(
            "configs from the environment",
            "configs: {a: {environment: CLAW_API_TOKEN}}\n",
            "`configs` is not taken",
        ),
        file("secrets with a file", "secrets: {a: {file: /etc/shadow}}\n", "`secrets` is not taken"),
        file(
            "secrets from the environment",
            "secrets: {a: {environment: CLAW_API_TOKEN}}\n",
            "`secrets` is not taken",
        ),
        service("secrets of a service", "secrets: [a]", "`secrets` is not taken"),
        service("configs of a service", "configs: [a]", "`configs` is not taken"),
        service("build", "build: .", "`build` is not taken"),
        service(
            "build elsewhere",
            "build: {context: /, dockerfile: /etc/passwd, network: host}",
            "`build` is not taken",
        ),
        service("build of a repository", "build: https://example.org/app.git", "`build` is not taken"),
        service("credential_spec", "credential_spec: {file: /etc/shadow}", "`credential_spec` is not known"),
    ]
}

fn running() -> Vec<File> {
    vec![
        service("profiles", "profiles: [debug]", "`profiles` is not taken"),
        service(
            "develop",
            "develop: {watch: [{path: /, action: sync, target: /x}]}",
            "`develop` is not taken",
        ),
        service("post_start", "post_start: [{command: id, privileged: true}]", "`post_start` is not taken"),
        service("pre_stop", "pre_stop: [{command: id}]", "`pre_stop` is not taken"),
        service("provider", "provider: {type: /bin/sh, options: {c: id}}", "`provider` is not taken"),
        service("use_api_socket", "use_api_socket: true", "`use_api_socket` is not taken"),
        file("models", "models: {a: {model: x}}\n", "`models` is not known"),
        file("an extension", "x-run: id\n", "extensions mean nothing"),
        service("an extension of a service", "x-run: id", "extensions mean nothing"),
        service("scale", "scale: 1000", "`scale` is not taken"),
        service("replicas", "deploy: {replicas: 1000}", "`replicas` is not taken"),
        service("a mode of a swarm", "deploy: {mode: global}", "`mode` is not taken"),
    ]
}

fn spellings() -> Vec<File> {
    vec![
        whole("aliases", "services: {a: &a {image: \"x:1\"}, b: *a}\n", "anchors, aliases"),
        whole("an anchor alone", "services: {a: &a {image: \"x:1\"}}\n", "anchors, aliases"),
        whole("an anchor on a name", "services: {&a a: {image: \"x:1\"}}\n", "anchors, aliases"),
        whole("a merge key", "services: {a: {image: \"x:1\", <<: {privileged: true}}}\n", "merge keys"),
        whole("a bomb of aliases", bomb(), "anchors, aliases"),
        whole("deep nesting", format!("a: {}{}\n", "[".repeat(200), "]".repeat(200)), "nested more than"),
        whole(
            "deep nesting of members",
            (0..60).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>(),
            "nested more than",
        ),
        whole("many values", format!("a: [{}]\n", "1,".repeat(20_000)), "more than 10000 values"),
        whole("a large file", format!("# {}\n", "x".repeat(200_000)), "are the most"),
        whole(
            "two documents",
            "services: {a: {image: \"x:1\"}}\n---\nservices: {}\n",
            "only one YAML document",
        ),
        whole("the same name twice", "services: {a: {image: \"x:1\"}}\nservices: {}\n", "stands here twice"),
        service("the same member twice", "privileged: false\nprivileged: true", "stands here twice"),
        service("the same variable twice", "environment: [A=1, A=2]", "stands here twice"),
        service("another letter case", "Privileged: true", "`Privileged` is not known"),
        service("the Engine's name", "HostConfig: {Privileged: true}", "`HostConfig` is not known"),
        service("a tag", "privileged: !!bool \"true\"", "the tag"),
        service("a tag that resets", "security_opt: !reset []", "the tag"),
        service("a tag that overrides", "ports: !override [\"80:80\"]", "the tag"),
        service("a tag of a language", "command: !!python/object/apply:os.system [id]", "the tag"),
        whole("a name that is a list", "? [services]\n: {a: {image: \"x:1\"}}\n", "must be plain text"),
        whole(
            "a name that is no text",
            "{services: {a: {image: \"x:1\"}}, {a: b}: c}\n",
            "must be plain text",
        ),
        service("an escape in a name", "\"privi\\u006ceged\": true", "powers.privileged"),
        service("text that is shown backwards", "hostname: \"a\u{202e}b\"", "U+202E"),
        service("an escape of a terminal", "hostname: \"\\u001b[31m\"", "U+001B"),
        service("nothing in between", "hostname: \"a\\0b\"", "U+0000"),
        service("yes is no truth", "read_only: yes", "neither true nor false"),
        whole("no mapping", "- services\n", "expected names with values"),
        whole("nothing", "", "the file is empty"),
        whole("no YAML", "services: [\n", "not YAML"),
        whole("no services", "services: {}\n", "1 to 32 services"),
        whole("no image", "services: {a: {command: id}}\n", "`image` is missing"),
        whole("a service named like a path", "services: {../a: {image: \"x:1\"}}\n", "a service's name has"),
        whole(
            "a circle",
            "services: {a: {image: \"x:1\", depends_on: [b]}, b: {image: \"x:1\", depends_on: [a]}}\n",
            "waits for itself",
        ),
        whole(
            "many services",
            format!(
                "services: {{{}}}\n",
                (0..40).map(|n| format!("a{n}: {{image: \"x:1\"}},")).collect::<String>()
            ),
            "1 to 32 services",
        ),
        service("a dependency on nothing", "depends_on: [other]", "there is no service"),
    ]
}

fn environment() -> Vec<File> {
    vec![
        service("the server's variable", "environment: {A: \"${CLAW_API_TOKEN}\"}", "is not given"),
        service("the server's variable, bare", "environment: {A: $HOME}", "write `${NAME}`"),
        service("the server's variable, required", "environment: {A: \"${PATH:?no}\"}", "only `${NAME}`"),
        service(
            "the server's variable, in a default",
            "environment: {A: \"${X:-${HOME}}\"}",
            "only `${NAME}`",
        ),
        service("passed through", "environment: [CLAW_API_TOKEN]", "server's own environment"),
        service(
            "passed through, as a mapping",
            "environment: {CLAW_API_TOKEN: }",
            "server's own environment",
        ),
        service("in an image", "image2: x\nhostname: \"${HOSTNAME}\"", "is not given"),
        service("a name that is none", "environment: [\"A B=1\"]", "no name for a variable"),
        service("a name with an equals sign", "environment: {\"A=B\": c}", "no name for a variable"),
    ]
}

fn mounts() -> Vec<File> {
    let long = |source: &str| format!("volumes:\n  - type: bind\n    source: {source}\n    target: /x");
    vec![
        service("the root", "volumes: [\"/:/host\"]", "(mounts."),
        service("the root, read-only", "volumes: [\"/:/host:ro\"]", "(mounts."),
        service("the root, otherwise", "volumes: [\"/./../:/host\"]", "(mounts."),
        service("the root, long", &long("/"), "(mounts."),
        service("etc", "volumes: [\"/etc:/x\"]", "(mounts."),
        service("etc, with slashes", "volumes: [\"//etc//:/x\"]", "(mounts."),
        service("the home of root", &long("/root/.ssh"), "(mounts."),
        service("the socket", "volumes: [\"/var/run/docker.sock:/var/run/docker.sock\"]", "(mounts."),
        service("the socket, read-only", "volumes: [\"/run/docker.sock:/x:ro\"]", "(mounts."),
        service("the folder of the socket", "volumes: [\"/run:/x\"]", "(mounts."),
        service("the socket below", &long("/run/containerd/containerd.sock"), "(mounts."),
        service("the Engine's folder", "volumes: [\"/var/lib/docker:/x\"]", "(mounts."),
        service("our own data", "volumes: [\"/srv/clawmachine:/x\"]", "(mounts."),
        service("all apps", "volumes: [\"/srv/apps:/x\"]", "(mounts."),
        service("all apps, from below", "volumes: [\"../..:/x\"]", "below the app's own"),
        service("another app", "volumes: [\"../../other/install:/x\"]", "below the app's own"),
        service("out and in", "volumes: [\"./config/../../..:/x\"]", "below the app's own"),
        service("the app's own folder", "volumes: [\".:/x\"]", "below the app's own"),
        service("the app's own folder, otherwise", "volumes: [\"./.:/x\"]", "below the app's own"),
        service("our files", "volumes: [\"./.env:/x\"]", "below the app's own"),
        service("our compose file", "volumes: [\"./compose.yaml:/x\"]", "below the app's own"),
        service("a home", "volumes: [\"~/.ssh:/x\"]", "`~` means nothing"),
        service("a path of another system", "volumes: [\"C:\\\\:/x\"]", "the option"),
        service("a path without a dot", "volumes: [\"config/app:/x\"]", "neither a volume's name nor a path"),
        service("a relabel", "volumes: [\"./a:/x:z\"]", "change files of the host"),
        service(
            "a relabel, long",
            "volumes:\n  - {type: bind, source: ./a, target: /x, bind: {selinux: Z}}",
            "`selinux` is not taken",
        ),
        service("spreading", "volumes: [\"./a:/x:rshared\"]", "(mounts.propagation)"),
        service(
            "spreading, long",
            "volumes:\n  - {type: bind, source: ./a, target: /x, bind: {propagation: shared}}",
            "(mounts.propagation)",
        ),
        service("over the kernel", "volumes: [\"./a:/proc/sys\"]", "(mounts.target-system)"),
        service("a place that climbs", "volumes: [\"./a:/x/../proc\"]", "no absolute path"),
        service("two at one place", "volumes: [\"./a:/x\", \"./b:/x/\"]", "two mounts are at"),
        service("an image", "volumes:\n  - {type: image, source: x, target: /x}", "is not taken"),
        service("a pipe", "volumes:\n  - {type: npipe, source: x, target: /x}", "is not taken"),
        service("a cluster's", "volumes:\n  - {type: cluster, source: x, target: /x}", "is not taken"),
        service(
            "an unknown member",
            "volumes:\n  - {type: bind, source: ./a, target: /x, Source: /}",
            "`Source` is not known",
        ),
        service("tmpfs with options", "tmpfs: [\"/x:exec,suid,dev\"]", "only `size"),
        service("of another container", "volumes_from: [container:other]", "(mounts.volumes-from)"),
        file(
            "a volume that is a bind",
            "    volumes: [\"a:/x\"]\nvolumes:\n  a: {driver_opts: {type: none, o: bind, device: /}}\n",
            "(mounts.",
        ),
        file(
            "a volume of the network",
            "    volumes: [\"a:/x\"]\nvolumes:\n  a: {driver_opts: {type: nfs, o: \"addr=10.0.0.1\", device: \":/\"}}\n",
            "(mounts.",
        ),
        file(
            "a volume of another driver",
            "    volumes: [\"a:/x\"]\nvolumes:\n  a: {driver: vieux/sshfs}\n",
            "(mounts.",
        ),
        file(
            "a volume taken over",
            "    volumes: [\"a:/x\"]\nvolumes:\n  a: {name: wagmios_data}\n",
            "`name` goes with `external: true`",
        ),
        file(
            "our own volume",
            "    volumes: [\"a:/x\"]\nvolumes:\n  a: {external: true, name: wagmios_data}\n",
            "(mounts.",
        ),
        file(
            "our own volume, in capitals",
            "    volumes: [\"a:/x\"]\nvolumes:\n  a: {external: true, name: ClawMachine-data}\n",
            "(mounts.",
        ),
        file("a volume with labels", "volumes:\n  a: {labels: {claw.job: x}}\n", "`labels` is not known"),
        service("a volume nobody lists", "volumes: [\"a:/x\"]", "not listed under `volumes`"),
    ]
}

fn powers() -> Vec<File> {
    vec![
        service("privileged", "privileged: true", "(powers.privileged)"),
        service("all capabilities", "cap_add: [ALL]", "(powers."),
        service("a capability", "cap_add: [SYS_ADMIN]", "(powers."),
        service("a capability, otherwise", "cap_add: [cap_sys_admin]", "(powers."),
        service("capabilities as text", "cap_add: ALL", "expected a list"),
        service("a device", "devices: [/dev/sda]", "(powers."),
        service("a device under another name", "devices: [\"/dev/mem:/dev/null:rwm\"]", "(powers."),
        service("a device that climbs", "devices: [\"/dev/../dev/sda\"]", "(powers."),
        service(
            "rules of devices",
            "device_cgroup_rules: [\"a *:* rwm\"]",
            "`device_cgroup_rules` is not taken",
        ),
        service("graphics processors", "gpus: all", "(powers."),
        service(
            "graphics processors, long",
            "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}",
            "(powers.",
        ),
        service("no seccomp", "security_opt: [\"seccomp:unconfined\"]", "(powers."),
        service("no seccomp, otherwise", "security_opt: [\"seccomp=unconfined\"]", "(powers."),
        service("no AppArmor", "security_opt: [\"apparmor=unconfined\"]", "(powers."),
        service("no labels", "security_opt: [\"label=disable\"]", "(powers."),
        service("all of /proc", "security_opt: [\"systempaths=unconfined\"]", "(powers."),
        service("new privileges", "security_opt: [\"no-new-privileges:false\"]", "(powers."),
        service("the kernel's settings", "sysctls: {kernel.core_pattern: \"|/x\"}", "(powers."),
        service("the network's settings", "sysctls: [net.ipv4.ip_forward=1]", "(powers."),
        service("another runtime", "runtime: runc2", "(powers."),
        service("above others", "cgroup_parent: /", "("),
        service("last to go", "oom_score_adj: -1000", "("),
        service("no limit of processes", "pids_limit: -1", "not a number"),
        service("too many processes", "pids_limit: 4000000", "("),
        service("too much shared memory", "shm_size: 1t", "("),
    ]
}

fn namespaces() -> Vec<File> {
    vec![
        service("the host's network", "network_mode: host", "(namespaces."),
        service("a container's network", "network_mode: container:abc", "(namespaces."),
        service("a service's network", "network_mode: service:web", "(n"),
        service("the host's processes", "pid: host", "(namespaces."),
        service("a container's processes", "pid: container:abc", "(namespaces."),
        service("the host's memory", "ipc: host", "(namespaces."),
        service("the host's name", "uts: host", "(namespaces."),
        service("the host's users", "userns_mode: host", "(namespaces."),
        service("the host's control groups", "cgroup: host", "(namespaces."),
        file(
            "somebody's network",
            "    networks: [a]\nnetworks:\n  a: {external: true, name: clawmachine}\n",
            "(networks.",
        ),
        file(
            "a network taken over",
            "    networks: [a]\nnetworks:\n  a: {name: clawmachine}\n",
            "`name` goes with `external: true`",
        ),
        file(
            "another driver",
            "    networks: [a]\nnetworks:\n  a: {driver: macvlan}\n",
            "the driver of a network is bridge",
        ),
        file(
            "the host as a network",
            "    networks: [a]\nnetworks:\n  a: {driver: host}\n",
            "the driver of a network is bridge",
        ),
        file(
            "options of a driver",
            "networks:\n  a: {driver_opts: {parent: eth0}}\n",
            "`driver_opts` is not known",
        ),
        file(
            "an address range",
            "networks:\n  a: {ipam: {config: [{subnet: 10.0.0.0/8}]}}\n",
            "`ipam` is not known",
        ),
        service(
            "an address",
            "networks: {default: {ipv4_address: 172.17.0.1}}",
            "settings of a service in a network",
        ),
        service("a network nobody lists", "networks: [host]", "not listed under `networks`"),
    ]
}

fn passing_for_others() -> Vec<File> {
    vec![
        service("our name", "container_name: wagmios-backend", "(name."),
        service("our name, in capitals", "container_name: ClawMachine", "(name."),
        service("a name that is a path", "container_name: ../a", "(name."),
        service("a name like an option", "container_name: --privileged", "(name."),
        service("our label", "labels: {claw.job: x}", "(labels."),
        service("our label, in capitals", "labels: [\"Claw.Instance=x\"]", "(labels."),
        service("a label of Compose", "labels: {com.docker.compose.project: other}", "(labels."),
        service("a label of a proxy", "labels: {traefik.enable: \"true\"}", "(labels."),
        service("our port", "ports: [\"5179:80\"]", "(ports."),
        service("a low port", "ports: [\"22:22\"]", "(ports."),
        service("no port", "ports: [\"70000:80\"]", "is no port"),
        service("port 0", "ports: [\"0:80\"]", "is no port"),
        service("a port in the base of 60", "ports: [22:22:22]", "is no port"),
        service("all ports", "ports: [\"1-65535:1-65535\"]", "is no port"),
        service("another protocol", "ports: [\"80:80/sctp\"]", "is no port"),
        service("ports of different number", "ports: [\"80-81:80\"]", "is no port"),
        service(
            "a log elsewhere",
            "logging: {driver: syslog, options: {syslog-address: \"tcp://10.0.0.1\"}}",
            "(log",
        ),
        whole("an image that is an option", "services: {a: {image: --privileged}}\n", "(image"),
        whole("an image of an address", "services: {a: {image: \"https://example.org/x\"}}\n", "(image"),
    ]
}
