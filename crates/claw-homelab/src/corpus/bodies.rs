//! Bodies in JSON that could be read in two ways, or that say in other words what a container may not have.

/// A body that is refused.
#[derive(Clone, Debug)]
pub struct Body {
    /// What is special about it.
    pub name: &'static str,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// A part of the reason that is told.
    pub because: &'static str,
}

/// What comes before the member that matters.
const IMAGE: &str = r#""image":"nginx:1.29","name":"web""#;

/// Returns every body.
pub fn bodies() -> Vec<Body> {
    let mut all = Vec::new();
    let mut add = |name, bytes: Vec<u8>, because| all.push(Body { name, bytes, because });
    for (name, members, because) in [
        ("an escape in a name", r#""\u0070rivileged":true"#, "(powers.privileged)"),
        (
            "a name of escapes alone",
            r#""\u0070\u0072\u0069\u0076\u0069\u006c\u0065\u0067\u0065\u0064":true"#,
            "(powers.privileged)",
        ),
        ("escapes in a path", r#""volumes":[{"host":"\u002fetc","container":"/x"}]"#, "(mounts.system)"),
        ("a slash that is escaped", r#""volumes":[{"host":"\/etc\/","container":"/x"}]"#, "(mounts.system)"),
        (
            "the socket by escapes",
            r#""volumes":[{"host":"/var/run/docker\u002esock","container":"/x"}]"#,
            "(mounts.engine-socket)",
        ),
        ("a capability by escapes", r#""cap_add":["\u0053YS_ADMIN"]"#, "(powers.capabilities)"),
        ("the host by escapes", r#""network_mode":"h\u006fst""#, "(namespaces.host)"),
        ("privileged, in capitals", r#""Privileged":true"#, "`Privileged` is not a member"),
        ("privileged, in more of them", r#""PRIVILEGED":true"#, "`PRIVILEGED` is not a member"),
        ("privileged with a long s", "\"privileged \":true", "is not a member"),
        (
            "the Engine's own form",
            r#""HostConfig":{"Privileged":true,"Binds":["/:/host"]}"#,
            "`HostConfig` is not a member",
        ),
        (
            "the Engine's own form, small",
            r#""hostconfig":{"privileged":true}"#,
            "`hostconfig` is not a member",
        ),
        ("the Engine's own form, by escapes", r#""Host\u0043onfig":{}"#, "`HostConfig` is not a member"),
        ("the host's binds", r#""Binds":["/:/host"]"#, "`Binds` is not a member"),
        ("mounts of the Engine", r#""Mounts":[{"Type":"bind","Source":"/"}]"#, "`Mounts` is not a member"),
        ("networks of the Engine", r#""NetworkingConfig":{}"#, "`NetworkingConfig` is not a member"),
        ("device requests", r#""device_requests":[{"Count":-1}]"#, "`device_requests` is not a member"),
        ("device rules", r#""device_cgroup_rules":["a *:* rwm"]"#, "`device_cgroup_rules` is not a member"),
        ("masked paths", r#""masked_paths":[]"#, "`masked_paths` is not a member"),
        ("read-only paths", r#""readonly_paths":[]"#, "`readonly_paths` is not a member"),
        ("annotations", r#""annotations":{"a":"b"}"#, "`annotations` is not a member"),
        ("links to others", r#""links":["db"]"#, "`links` is not a member"),
        ("a prototype", r#""__proto__":{"privileged":true}"#, "`__proto__` is not a member"),
        ("twice", r#""privileged":false,"privileged":true"#, "appears twice"),
        ("twice, the harmless one last", r#""privileged":true,"privileged":false"#, "appears twice"),
        ("twice by an escape", r#""privileged":false,"\u0070rivileged":true"#, "appears twice"),
        ("twice in two cases", r#""privileged":false,"Privileged":true"#, "letter case only"),
        (
            "twice with a long s",
            "\"sysctls\":{},\"\u{17f}ysctls\":{\"kernel.core_pattern\":\"x\"}",
            "letter case only",
        ),
        ("twice with the Kelvin sign", "\"links\":1,\"lin\u{212a}s\":1", "letter case only"),
        ("an image twice", r#""image":"evil""#, "appears twice"),
        ("a variable twice", r#""env":{"A":"1","A":"2"}"#, "appears twice"),
        ("a variable in two cases", r#""env":{"a":"1","A":"2"}"#, "letter case only"),
        (
            "a mount with two sources",
            r#""volumes":[{"host":"data","host":"/","container":"/x"}]"#,
            "appears twice",
        ),
        (
            "a mount with two sources in two cases",
            r#""volumes":[{"host":"data","Host":"/","container":"/x"}]"#,
            "letter case only",
        ),
        ("a mount as text", r#""volumes":["/:/host"]"#, "`volumes` must be"),
        (
            "a mount with more members",
            r#""volumes":[{"host":"a1","container":"/x","type":"bind"}]"#,
            "`volumes` must be",
        ),
        ("a mount by other names", r#""volumes":[{"source":"/","target":"/x"}]"#, "`volumes` must be"),
        ("mounts as an object", r#""volumes":{"/":"/host"}"#, "`volumes` must be"),
        (
            "a target with options",
            r#""volumes":[{"host":"/etc","container":"/x:rw"}]"#,
            "no place in a container",
        ),
        (
            "a target that climbs",
            r#""volumes":[{"host":"data","container":"/x/../proc"}]"#,
            "no place in a container",
        ),
        ("yes as text", r#""privileged":"true""#, "`privileged` must be true or false"),
        ("yes as a number", r#""privileged":1"#, "`privileged` must be true or false"),
        ("yes in a list", r#""privileged":[true]"#, "`privileged` must be true or false"),
        ("a capability as text", r#""cap_add":"ALL""#, "`cap_add` must be a list"),
        ("a capability as an object", r#""cap_add":{"0":"ALL"}"#, "`cap_add` must be a list"),
        ("a capability in a list of lists", r#""cap_add":[["ALL"]]"#, "`cap_add` must be a text"),
        ("no number", r#""cpus":NaN"#, "no JSON"),
        ("no end", r#""cpus":Infinity"#, "no JSON"),
        ("no end, below", r#""cpus":-Infinity"#, "no JSON"),
        ("a number too large for a double", r#""cpus":1e999"#, "number"),
        ("a number that is rounded", r#""memory_bytes":18446744073709551616"#, "too large to be exact"),
        (
            "a number beyond what doubles tell apart",
            r#""memory_bytes":9007199254740993.0"#,
            "too large to be exact",
        ),
        ("less than nothing", r#""memory_bytes":-1"#, "`memory_bytes` must be"),
        ("a part of a byte", r#""memory_bytes":1.5"#, "`memory_bytes` must be"),
        ("too many processes to count", r#""pids":4294967296"#, "`pids` must be"),
        ("processes without end", r#""pids":-1"#, "`pids` must be"),
        ("processors below nothing", r#""cpus":-0.5"#, "`cpus` must be"),
        ("a number with a zero before it", r#""pids":010"#, "no JSON"),
        ("a number of base sixteen", r#""pids":0x10"#, "no JSON"),
        ("a port beyond the last", r#""ports":[{"private":80,"public":65616}]"#, "`ports` must be"),
        ("a port below the first", r#""ports":[{"private":80,"public":-1}]"#, "`ports` must be"),
        ("a port in two forms", r#""ports":[{"private":80,"host":"22"}]"#, "`ports` must be"),
        ("a port with an address", r#""ports":[{"host":"0.0.0.0:22","container":"22"}]"#, "`ports` must be"),
        ("a port with a sign", r#""ports":[{"host":"+22","container":"22"}]"#, "`ports` must be"),
        ("a variable with a line", r#""env":{"A":"1\nB=2"}"#, "on one line"),
        ("a variable with a zero byte", r#""env":{"A":"1\u0000"}"#, "must be a text"),
        ("a variable as an object", r#""env":{"A":{"B":1}}"#, "must be a text"),
        ("a comment", "\"cpus\":1 /* x */", "no JSON"),
        ("a comma too many", r#""cpus":1,"#, "no JSON"),
        ("single quotes", "'privileged':true", "no JSON"),
        ("no quotes", "privileged:true", "no JSON"),
        ("half a character", r#""hostname":"\ud800""#, "no JSON"),
        ("a line in a text", "\"hostname\":\"a\nb\"", "no JSON"),
    ] {
        add(name, format!("{{{IMAGE},{members}}}").into_bytes(), because);
    }
    let plain = format!("{{{IMAGE}}}");
    let with = |before: &[u8], after: &[u8]| [before, plain.as_bytes(), after].concat();
    add("a mark of order", with(b"\xef\xbb\xbf", b""), "no JSON");
    add("something behind", with(b"", b" {\"privileged\":true}"), "no JSON");
    add("something behind without a blank", with(b"", b"[]"), "no JSON");
    add("a zero byte behind", with(b"", b"\0"), "no JSON");
    add("a guard before", with(b")]}'\n", b""), "no JSON");
    add("a comment before", with(b"// x\n", b""), "no JSON");
    add("a form", b"image=nginx&privileged=true".to_vec(), "no JSON");
    add("in a list", with(b"[", b"]"), "must be a JSON object");
    add(
        "in a text",
        serde_json::Value::from(plain.as_str()).to_string().into_bytes(),
        "must be a JSON object",
    );
    add("nothing", Vec::new(), "no JSON");
    add("no object", b"null".to_vec(), "must be a JSON object");
    let wide = |little: bool| {
        let bytes = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
        plain.encode_utf16().flat_map(bytes).collect::<Vec<_>>()
    };
    add("in wide characters", wide(true), "no JSON");
    add("in wide characters, the other way", wide(false), "no JSON");
    add("bytes that are no text", format!("{{{IMAGE},\"hostname\":\"").into_bytes(), "no JSON");
    let odd = [format!("{{{IMAGE},\"hostname\":\"").as_bytes(), b"\xc0\xafetc\"}"].concat();
    add("a slash in too many bytes", odd, "no JSON");
    let deep = format!("{{{IMAGE},\"labels\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    add("deep", deep.into_bytes(), "nested more than");
    let many = format!("{{{IMAGE},\"cap_add\":[{}\"ALL\"]}}", "\"CHOWN\",".repeat(300));
    add("many", many.into_bytes(), "`cap_add` must be a list of at most");
    let large = format!("{{{IMAGE},\"hostname\":\"{}\"}}", "x".repeat(300 << 10));
    add("large", large.into_bytes(), "larger than");
    all
}
