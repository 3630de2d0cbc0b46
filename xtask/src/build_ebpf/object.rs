//! Building the object, the same bytes on every machine.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::compiler::{self, Compiler, Toolchain};
use crate::command;

/// Builds the object under `target/ebpf`, and says where it is.
///
/// # Errors
/// When the compiler or the linker fails, or a path of this machine got into the object.
pub(crate) fn build(root: &Path, toolchain: &Toolchain) -> Result<PathBuf> {
    let target = root.join("target/ebpf");
    // The sources must be there before their folders can be listed, and renamed, in `rustflags`.
    command::run(cargo(root, toolchain).args(["fetch", "--locked"]))?;
    command::run(
        cargo(root, toolchain)
            .args(["build", "--release", "--locked", "--package", "gogeta-ebpf"])
            .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
            .arg("--target-dir")
            .arg(&target)
            .args(profile())
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags(root, &toolchain.compiler).join("\u{1f}")),
    )
    .context("cannot build gogeta-ebpf; is bpf-linker's LLVM older than the compiler's?")?;
    let object = target.join("gogeta-ebpf.o");
    fs::copy(target.join("bpfel-unknown-none/release/gogeta-ebpf"), &object)?;
    strip(&object)?;
    ensure_anonymous(&object, root)?;
    Ok(object)
}

/// Settings of the release profile, whatever the workspace says of it for userspace.
fn profile() -> impl Iterator<Item = String> {
    [
        "opt-level=3",
        "codegen-units=1",
        "lto=\"fat\"",
        "panic=\"abort\"",
        "overflow-checks=false",
        // For BTF: the kernel wants types and functions described, `bpf_loop` will not do without.
        "debug=2",
        "strip=false",
    ]
    .into_iter()
    .flat_map(|setting| ["--config".to_owned(), format!("profile.release.{setting}")])
}

/// The flags of the compiler, and nothing from the environment or `.cargo/config.toml`.
fn rustflags(root: &Path, compiler: &Compiler) -> Vec<String> {
    let mut flags: Vec<String> = [
        // v1 and v2 lack the 32-bit operations and jumps without which the verifier sees pointer
        // arithmetic where there is none. Linux 5.1 has v3.
        "-Ctarget-cpu=v3",
        "-Clink-arg=--btf",
        // A place on the stack that held a pointer and then a number of half its size the verifier lets only
        // `CAP_PERFMON` have.
        "-Clink-arg=--llvm-args=-no-stack-slot-sharing",
        // Or else it is the builder's, and `struct pt_regs` differs.
        "--cfg=bpf_target_arch=\"x86_64\"",
    ]
    .map(str::to_owned)
    .into();
    for (from, to) in renamed(root, compiler) {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    }
    flags
}

/// Folders of this machine, and the names for them in the object.
///
/// Ours are relative to the root, where bpf-linker runs: it finds the lines of our source there
/// and puts them into BTF, so that the verifier's log shows them. The others must not be found:
/// they would be in the object on those machines only that have them.
fn renamed(root: &Path, compiler: &Compiler) -> Vec<(PathBuf, &'static str)> {
    let mut folders = vec![(root.to_owned(), "."), (compiler.source.clone(), "/rust-src")];
    // Debian's is a link, and both names occur.
    if let Ok(real) = compiler.source.canonicalize()
        && real != compiler.source
    {
        folders.push((real, "/rust-src"));
    }
    // One folder for each registry, whose name has a hash in it.
    let registries = compiler::cargo_home().map(|home| home.join("registry/src"));
    let registries = registries.and_then(|folder| fs::read_dir(folder).ok());
    for registry in registries.into_iter().flatten().flatten() {
        folders.push((registry.path(), "/crates"));
    }
    folders
}

/// The compiler's cargo, without what the environment says about compiling.
///
/// `cargo run` has left its mark there, and so may have the user, for userspace.
fn cargo(root: &Path, toolchain: &Toolchain) -> Command {
    let mut command = Command::new(&toolchain.compiler.cargo);
    for (name, _) in env::vars_os() {
        if is_about_compiling(&name) {
            command.env_remove(name);
        }
    }
    command
        .current_dir(root)
        .env("RUSTC", &toolchain.compiler.rustc)
        // Allows `-Z` on a stable compiler, which Debian's is.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("PATH", path_with(&toolchain.linker));
    command
}

fn is_about_compiling(variable: &OsString) -> bool {
    let name = variable.to_string_lossy();
    let prefixes = [
        "RUSTC",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_",
        "CARGO_INCREMENTAL",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
        "LD_LIBRARY_PATH",
    ];
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// The `PATH` with the folder of `program` first: the compiler looks for bpf-linker there.
fn path_with(program: &Path) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = program.parent().map(Path::to_path_buf).into_iter();
    env::join_paths(folders.chain(env::split_paths(&path))).unwrap_or(path)
}

/// Removes DWARF, which is ten times the rest, and keeps BTF.
fn strip(object: &Path) -> Result<()> {
    let mut objcopy = objcopy()?;
    command::run(objcopy.arg("--strip-debug").arg(object))
}

/// LLVM's objcopy, for GNU's does not know BPF: the system's, or the one that comes with Rust.
fn objcopy() -> Result<Command> {
    let names = ["llvm-objcopy", "llvm-objcopy-22"];
    if let Some(program) = names.iter().find_map(|name| command::find(name)) {
        return Ok(Command::new(program));
    }
    let sysroot = command::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let host = command::output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let library = Path::new(&sysroot).join("lib");
    let program = library.join(format!("rustlib/{host}/bin/rust-objcopy"));
    ensure!(program.is_file(), "llvm-objcopy is missing; it is in Debian's package llvm-22");
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", library);
    Ok(command)
}

/// An object with a path of this machine would differ elsewhere, and tell what nobody asked for.
fn ensure_anonymous(object: &Path, root: &Path) -> Result<()> {
    let bytes = fs::read(object)?;
    for folder in [Some(root.to_owned()), compiler::cargo_home()] {
        let Some(folder) = folder else { continue };
        let name = folder.as_os_str().as_encoded_bytes();
        ensure!(
            !bytes.windows(name.len()).any(|window| window == name),
            "{} has got into the object; `renamed` in {} must know it",
            folder.display(),
            file!()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_has_no_say_in_compiling() {
        for name in ["RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_PROFILE_RELEASE_DEBUG"] {
            assert!(is_about_compiling(&name.into()), "{name}");
        }
        for name in ["PATH", "HOME", "CARGO_HOME", "CARGO_HTTP_PROXY"] {
            assert!(!is_about_compiling(&name.into()), "{name}");
        }
    }

    #[test]
    fn the_linkers_folder_is_searched_first() {
        let path = path_with(Path::new("/opt/llvm/bin/bpf-linker"));
        assert!(path.to_string_lossy().starts_with("/opt/llvm/bin:"));
    }

    #[test]
    fn a_path_of_this_machine_is_refused() {
        let object = env::temp_dir().join(format!("anonymous-{}", std::process::id()));
        fs::write(&object, b"\0/somewhere/gogeta/src\0").unwrap();
        assert!(ensure_anonymous(&object, Path::new("/somewhere/gogeta")).is_err());
        assert!(ensure_anonymous(&object, Path::new("/elsewhere")).is_ok());
        fs::remove_file(&object).unwrap();
    }
}
