# shellcheck shell=bash
# Sourced after common.sh: what a machine needs to build and test. Each function is quick when nothing is missing.
#
#   setup_packages       Debian's packages: git, curl, a C compiler, certificates
#   setup_compose        Compose, by which apps are started: the plugin or docker-compose
#   setup_composers      both of them, for tests: docker-compose, and the plugin named by CLAW_TEST_COMPOSE
#   setup_podman         Podman, which is tested in Docker's place
#   setup_proxies        Caddy and nginx, which take the settings in deploy/
#   setup_rust           cargo, new enough, with rustfmt and clippy
#   setup_claude         the Claude Code CLI in .cache/, named by CLAW_TEST_CLAUDE
#   setup_mcp_tools      Node.js, the MCP conformance suite and the inspector in .cache/mcp-tools/, and the Python client in
#                        .cache/mcp-python/, as scripts/lib/mcp-tools/ pins them
#   claude_code_version  prints the pinned version of the CLI

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

# Installs the packages whose commands or files are missing: install_missing COMMAND_OR_FILE=PACKAGE...
install_missing() {
    local pair need missing=() root=()
    for pair in "$@"; do
        need="${pair%%=*}"
        case "$need" in
            /*) [ -e "$need" ] || missing+=("${pair#*=}") ;;
            *) command -v "$need" >/dev/null 2>&1 || missing+=("${pair#*=}") ;;
        esac
    done
    [ "${#missing[@]}" -gt 0 ] || return 0

    command -v apt-get >/dev/null 2>&1 \
        || die "missing: ${missing[*]} (Debian's names); install them with this system's package manager and try again"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || die "missing: ${missing[*]}; as root: apt-get install ${missing[*]}"
        root=(sudo)
    fi
    say "    installing ${missing[*]}"
    local log
    log="$(mktemp)"
    # The timeout is inside of sudo, which otherwise could not ask for a password on the terminal.
    if ! { "${root[@]}" timeout 300 apt-get update \
        && "${root[@]}" timeout 900 env DEBIAN_FRONTEND=noninteractive \
            apt-get install --yes --no-install-recommends "${missing[@]}"; } </dev/null >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "could not install ${missing[*]}; the lines above say why"
    fi
    rm -f "$log"
}

setup_packages() {
    install_missing git=git curl=curl cc=build-essential make=build-essential pgrep=procps setsid=util-linux \
        /etc/ssl/certs/ca-certificates.crt=ca-certificates
}

setup_compose() {
    ! docker compose version >/dev/null 2>&1 || return 0
    install_missing docker-compose=docker-compose
}

setup_podman() {
    install_missing podman=podman
}

setup_proxies() {
    install_missing caddy=caddy /usr/sbin/nginx=nginx-light openssl=openssl
}

# The plugin as Debian packs it: one static program. Debian 12 itself has only version 1, and neither npm nor PyPI has 2.
COMPOSE_PACKAGE=2.26.1-4
COMPOSE_SHA256_amd64=47681197cb2b1ab88206b42a1a92fc75f50d9530a6322d03494a473eed0408ea
COMPOSE_SHA256_arm64=bbafaa666f3e7fa00ad36f2a8bab889f1c791ca8743d674e7267a3d07203869c

setup_composers() {
    install_missing docker-compose=docker-compose
    local folder="$ROOT/.cache/compose"
    if [ -n "${CLAW_TEST_COMPOSE:-}" ]; then
        [ -x "$CLAW_TEST_COMPOSE" ] || die "CLAW_TEST_COMPOSE is $CLAW_TEST_COMPOSE, which is no program; unset it to fetch the plugin"
    else
        CLAW_TEST_COMPOSE="$folder/docker-compose"
        if [ ! -x "$CLAW_TEST_COMPOSE" ] || [ "$(cat "$folder/package" 2>/dev/null)" != "$COMPOSE_PACKAGE" ]; then
            fetch_compose "$folder"
        fi
    fi
    export CLAW_TEST_COMPOSE
}

fetch_compose() {
    local folder="$1" architecture file draft address sum
    case "$(uname -m)" in
        x86_64) architecture=amd64 sum="$COMPOSE_SHA256_amd64" ;;
        aarch64) architecture=arm64 sum="$COMPOSE_SHA256_arm64" ;;
        *) die "set CLAW_TEST_COMPOSE to Compose's plugin for $(uname -m)" ;;
    esac
    install_missing dpkg-deb=dpkg
    say "    fetching Compose $COMPOSE_PACKAGE"
    mkdir -p "$folder"
    draft="$(mktemp -d "$folder/draft.XXXXXX")"
    file="docker-compose_${COMPOSE_PACKAGE}_$architecture.deb"
    # Where it is now, and where it stays when there is a newer one.
    for address in http://deb.debian.org/debian http://snapshot.debian.org/archive/debian/20250601T000000Z; do
        if curl --silent --show-error --fail --location --max-time 300 --max-filesize 50000000 \
            --output "$draft/$file" "$address/pool/main/d/docker-compose/$file" >&2 </dev/null \
            && printf '%s  %s\n' "$sum" "$draft/$file" | sha256sum --check --status; then
            dpkg-deb --extract "$draft/$file" "$draft/files"
            mv "$draft/files/usr/libexec/docker/cli-plugins/docker-compose" "$folder/docker-compose"
            printf '%s\n' "$COMPOSE_PACKAGE" >"$folder/package"
            rm -rf "$draft"
            return 0
        fi
        say "    $address does not have $file as it should be"
    done
    rm -rf "$draft"
    die "could not fetch $file; set CLAW_TEST_COMPOSE to Compose's plugin (version 2) to go on without"
}

# Whether version $1 is at least version $2.
at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

setup_rust() {
    local needed found
    needed="$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml")"
    if ! command -v cargo >/dev/null 2>&1 && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    command -v cargo >/dev/null 2>&1 || die "Rust $needed or newer is missing; install it as https://rustup.rs says, then try again"
    found="$(cargo --version | cut -d' ' -f2)"
    at_least "${found%%-*}" "$needed" \
        || die "Rust $needed or newer is needed and this is $found; with rustup: rustup update stable && rustup default stable"
}

setup_rust_tools() {
    local tool
    for tool in fmt clippy; do
        cargo "$tool" --version >/dev/null 2>&1 && continue
        say "    installing cargo $tool"
        if ! command -v rustup >/dev/null 2>&1 || ! timeout 300 rustup component add rustfmt clippy >&2; then
            die "cargo $tool is missing; with rustup: rustup component add rustfmt clippy"
        fi
    done
}

# The one place that names the version is the sandbox image's Dockerfile.
claude_code_version() {
    sed -n 's/^ARG CLAUDE_CODE_VERSION=//p' "$ROOT/images/sandbox/Dockerfile"
}

# The CLI that tests run outside a container is the same as the one in the sandbox image: one self-contained file.
setup_claude() {
    if [ -n "${CLAW_TEST_CLAUDE:-}" ]; then
        [ -x "$CLAW_TEST_CLAUDE" ] || die "CLAW_TEST_CLAUDE is $CLAW_TEST_CLAUDE, which is no program; unset it to fetch the CLI"
        export CLAW_TEST_CLAUDE
        return 0
    fi
    local version platform folder draft package
    version="$(claude_code_version)"
    case "$(uname -m)" in
        x86_64) platform=linux-x64 ;;
        aarch64) platform=linux-arm64 ;;
        *) die "there is no Claude Code CLI for $(uname -m)" ;;
    esac
    folder="$ROOT/.cache/claude-code/$version"
    export CLAW_TEST_CLAUDE="$folder/claude"
    [ ! -x "$CLAW_TEST_CLAUDE" ] || return 0

    install_missing npm=npm
    say "    fetching Claude Code $version"
    mkdir -p "$folder"
    draft="$(mktemp -d "$folder/draft.XXXXXX")"
    package="@anthropic-ai/claude-code-$platform"
    # No scripts of the package run; its binary needs none, and no Node.js either.
    if ! timeout 600 npm install --prefix "$draft" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
        "$package@$version" </dev/null >&2; then
        rm -rf "$draft"
        die "could not fetch $package@$version with npm; set CLAW_TEST_CLAUDE to a claude binary to go on without"
    fi
    chmod 0755 "$draft/node_modules/$package/claude"
    mv "$draft/node_modules/$package/claude" "$CLAW_TEST_CLAUDE"
    rm -rf "$draft"
}

# Tests look for them at this place. The lock names every package and its checksum.
setup_mcp_tools() {
    setup_mcp_node
    setup_mcp_python
}

setup_mcp_node() {
    local pins="$ROOT/scripts/lib/mcp-tools" folder="$ROOT/.cache/mcp-tools" draft
    ! cmp --silent "$pins/package-lock.json" "$folder/package-lock.json" || return 0

    install_missing npm=npm
    say "    fetching the MCP conformance suite, the inspector and their Node.js"
    mkdir -p "$ROOT/.cache"
    draft="$(mktemp -d "$ROOT/.cache/mcp-tools.XXXXXX")"
    cp "$pins/package.json" "$pins/package-lock.json" "$draft/"
    # No scripts of the packages run. npm's own Node.js may be older than the one it fetches.
    if ! timeout 600 npm ci --prefix "$draft" --ignore-scripts --no-audit --no-fund --loglevel=error \
        </dev/null >&2; then
        rm -rf "$draft"
        die "could not fetch the packages of scripts/lib/mcp-tools/package-lock.json with npm"
    fi
    rm -rf "$folder"
    mv "$draft" "$folder"
}

setup_mcp_python() {
    local pins="$ROOT/scripts/lib/mcp-tools/requirements.txt" folder="$ROOT/.cache/mcp-python"
    ! cmp --silent "$pins" "$folder/requirements.txt" || return 0

    install_missing python3=python3
    # Debian has what makes environments in a package of its own, which has no command.
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_missing /no/such/file=python3-venv
    say "    fetching the Python client of MCP"
    rm -rf "$folder"
    mkdir -p "$ROOT/.cache"
    if ! python3 -m venv "$folder" \
        || ! timeout 600 "$folder/bin/python" -m pip install --quiet --no-deps --disable-pip-version-check \
            --requirement "$pins" </dev/null >&2; then
        rm -rf "$folder"
        die "could not fetch the packages of scripts/lib/mcp-tools/requirements.txt with pip; it needs Python 3.10 or newer"
    fi
    # The last: a copy that is there says that the rest is.
    cp "$pins" "$folder/requirements.txt"
}
