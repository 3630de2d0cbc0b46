//! Which files gogeta may open after its start: Landlock.

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, LandlockStatus, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, make_bitflags,
};

use super::places::Places;

/// The newest set of rules that gogeta has been tried with: files up to 5, and from 6 on no signals to others. An older
/// kernel gives what it has.
const KNOWN: ABI = ABI::V6;

/// Files of a directory that is written to. Nothing is executed, and no devices or links are made, anywhere.
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile
});
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// Confines this thread, and those that it will have, to these places. Gives the version of the kernel's rules; none
/// where it has none.
///
/// # Errors
///
/// The kernel's, other than that it has no Landlock.
pub(super) fn confine(places: &Places) -> Result<Option<u32>, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::Signal)?;
    let mut ruleset = ruleset.create()?;
    for (paths, rights) in [(&places.read, READ), (&places.write, WRITE)] {
        for path in paths {
            // What is not there cannot be opened later either.
            let Ok(descriptor) = PathFd::new(path) else { continue };
            let is_folder = path.metadata().is_ok_and(|metadata| metadata.is_dir());
            let rights = if is_folder { rights } else { rights & AccessFs::from_file(KNOWN) };
            ruleset = ruleset.add_rule(PathBeneath::new(descriptor, rights))?;
        }
    }
    let status = ruleset.restrict_self()?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => None,
        (_, LandlockStatus::Available { effective_abi, kernel_abi }) => {
            Some(kernel_abi.and_then(|abi| u32::try_from(abi).ok()).unwrap_or(effective_abi as u32))
        }
        _ => None,
    })
}
