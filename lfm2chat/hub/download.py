"""Getting a model: every byte checked, resumed where it stopped, installed in one step.

The layout under the models folder, all of it private to the user::

    LFM2-350M/                        a whole model with its manifest, or nothing
    .partial/LiquidAI--LFM2-350M.lock
    .partial/LiquidAI--LFM2-350M/     one download under way
        <hash>.part                   bytes that have arrived of one file
        files/                        files that are whole and verified

A file is written to ``<hash>.part``, where the hash is the one that the hub's list promises, and
moved to ``files/`` once its content has that hash. When all are there, the config and the
weights' header are checked, the manifest is written, and the folder is renamed into place. So a
process may be killed at any moment: what has arrived counts, and a half model is never seen.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from lfm2chat.errors import ChecksumError, DiskFullError, ModelError
from lfm2chat.hub.access import Access
from lfm2chat.hub.catalog import find_card
from lfm2chat.hub.exchange import Policy
from lfm2chat.hub.fetch import Fetcher, Progress
from lfm2chat.hub.library import LocalModel, describe
from lfm2chat.hub.listing import CONFIG, WEIGHTS, Listing, RemoteFile, read_listing
from lfm2chat.hub.lock import PullLock
from lfm2chat.hub.manifest import FileRecord, Manifest, read_manifest
from lfm2chat.hub.partfile import PartFile, verified_sha256, write_error
from lfm2chat.hub.places import PARTIAL
from lfm2chat.hub.target import ARRIVED, Target
from lfm2chat.hub.transport import Transport
from lfm2chat.modelfiles import check_weights, read_config

_PRIVATE_DIR = 0o700


def pull(
    name: str,
    *,
    models_dir: Path,
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool] | None = None,
    access: Access | None = None,
    revision: str = "",
    update: bool = False,
    gguf: str = "",
    policy: Policy | None = None,
) -> LocalModel:
    """Download the model ``name`` and return it; at once, without a request, if it is there.

    There is also the cache of Hugging Face's own programs: a whole model in it is used where it
    lies, once its bytes are found to be what their names promise.

    May be called from any one thread; blocks until done. Two calls for one repository, also of
    two processes, take turns: the second finds the model of the first.

    Args:
        name: A catalogue name, or a repository as ``organisation/name``.
        models_dir: Where models live; made if it is missing.
        on_progress: Told about every step, at most ten times a second, on this thread.
        cancelled: Whether the user wants to stop; asked at least twice a second. None: never
            (an exception such as KeyboardInterrupt may still end the call).
        access: The way to the hub; None means huggingface.co without a token.
        revision: A branch, tag or commit; it is resolved to a commit, which is recorded. Empty
            means the one of the catalogue, else ``main``.
        gguf: Which GGUF file to fetch instead of the checkpoint (``Q4_0``, ``Q8_0``, ``F16``,
            ...), of the repository that is named like the model with ``-GGUF`` behind it.
        update: Whether to ask for a newer commit although the model is there. Files that did not
            change are not fetched again.
        policy: Timeouts and patience; None means the defaults.

    Raises:
        ModelNotFoundError: The name is neither in the catalogue nor a repository's.
        ConfigError: The repository is no LFM2 model; nothing but its config was fetched.
        WeightsError: The files do not make a model that the engine can load.
        HubError: The network or the hub refused (also ChecksumError, PullCancelledError);
            what has arrived is kept, and the next call goes on from there.
        DiskFullError: Too little room; what has arrived is kept.
        ModelError: A folder that cannot be written or that belongs to somebody else.
        UsageError: The endpoint or the token cannot be meant.
    """
    target = Target.of(name, revision=revision, gguf=gguf)
    present = target.installed(models_dir) or target.cached(models_dir)
    if present is not None and not update:
        return present
    transport = Transport(
        access=access or Access(), policy=policy or Policy(), cancelled=cancelled or _never
    )
    with transport, _turn(transport, models_dir / PARTIAL, target, on_progress):
        present = target.installed(models_dir)
        if present is not None and not update:
            return present
        _refuse_foreign(models_dir / target.name, target.repository)
        return _Pull(transport, target, models_dir, on_progress).run()


def _turn(
    transport: Transport, folder: Path, target: Target, on_progress: Callable[[Progress], None]
) -> PullLock:
    """The lock of this repository: whoever holds it pulls."""
    _make_folder(folder)

    def another() -> None:
        on_progress(Progress(note="waiting for another download of this model"))

    return PullLock(
        folder / f"{target.staging}.lock",
        cancelled=transport.cancelled,
        waiting=another,
        look_s=transport.policy.look_s,
    )


def _never() -> bool:
    return False


class _Pull:
    """One download under its lock."""

    def __init__(
        self,
        transport: Transport,
        target: Target,
        models_dir: Path,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._transport = transport
        self._target = target
        self._models_dir = models_dir
        self._staging = models_dir / PARTIAL / target.staging
        self._files = self._staging / ARRIVED
        self._folder = models_dir / target.name
        self._fetcher = Fetcher(transport, on_progress)

    def run(self) -> LocalModel:
        target = self._target
        listing = self._fetcher.retrying(
            lambda: read_listing(
                self._transport, target.repository, target.revision, gguf=target.gguf
            ),
            tries=2,
        )
        present = target.installed(self._models_dir, listing.commit)
        if present is not None:  # asked for something newer, and there is nothing
            return present
        _check_weights_hash(listing)
        try:
            here = self._prepare(listing)
        except OSError as error:
            raise write_error(error, self._staging) from error
        self._fetcher.begin(listing, here)
        records: dict[str, FileRecord] = {}
        for file in listing.files:
            records[file.name] = FileRecord(file.size, self._complete(file))
            if file.name == CONFIG:
                self._check(lambda: read_config(self._files))
        self._check(lambda: check_weights(self._files, read_config(self._files)))
        self._install(listing, records)
        return describe(target.place(self._models_dir))

    def _prepare(self, listing: Listing) -> dict[str, int]:
        """Make and tidy the staging folder; the bytes of each file that are here, by name."""
        _make_folder(self._files)
        self._drop_strangers(listing)
        self._reuse_installed(listing)
        here = self._here(listing)
        self._check_room(listing, here)
        return here

    def _complete(self, file: RemoteFile) -> str:
        """See to it that ``file`` lies whole and verified in ``files/``; its SHA-256 in hex."""
        target = self._files / file.name
        part = self._staging / f"{file.key}.part"
        sha256 = ""
        if target.exists():
            self._fetcher.note(file, "checking what is already here")
            sha256 = verified_sha256(target, file, cancelled=self._transport.cancelled)
            if not sha256:
                _remove(target)
                self._fetcher.lost(file)
        for _ in range(2):
            if not sha256:
                sha256 = self._fetch(file, part, target)
        if not sha256:
            raise ChecksumError(
                f"{file.name} arrived twice with other bytes than the hub promised",
                hint="nothing was installed; a proxy or a mirror may change files: "
                "try another network, or another mirror",
            )
        self._fetcher.completed(file)
        return sha256

    def _fetch(self, file: RemoteFile, path: Path, target: Path) -> str:
        """Fetch ``file`` by way of ``path`` to ``target``; "" if other bytes than promised came."""
        with PartFile(path, file, cancelled=self._transport.cancelled) as part:
            self._fetcher.fetch(file, part)
            verified = part.digest.verified
            if verified:
                part.sync()
        try:
            if verified:
                path.replace(target)
            else:
                _remove(path)
        except OSError as error:
            raise write_error(error, target) from error
        if not verified:
            self._fetcher.lost(file)
        return part.digest.sha256 if verified else ""

    def _drop_strangers(self, listing: Listing) -> None:
        """Delete what an earlier download of another commit left, so that nothing piles up."""
        parts = {f"{file.key}.part" for file in listing.files} | {self._files.name}
        for entry in self._staging.iterdir():
            if entry.name not in parts:
                _remove(entry)
        names = {file.name for file in listing.files}
        for entry in self._files.iterdir():
            if entry.name not in names:
                _remove(entry)

    def _reuse_installed(self, listing: Listing) -> None:
        """Link files of the installed older or damaged copy that look the same by their hash."""
        manifest = read_manifest(self._folder)
        for file in listing.files:
            record = manifest.files.get(file.name) if manifest else None
            if record is None or record.sha256 != file.sha256 or (self._files / file.name).exists():
                continue
            try:
                (self._files / file.name).hardlink_to(self._folder / file.name)
            except OSError:
                continue  # it is fetched instead; a link only saves time

    def _here(self, listing: Listing) -> dict[str, int]:
        """Bytes of each file that are on disk already, by name."""
        here: dict[str, int] = {}
        for file in listing.files:
            for path in (self._files / file.name, self._staging / f"{file.key}.part"):
                if path.is_file() and file.name not in here:
                    here[file.name] = min(path.stat().st_size, file.size)
        return here

    def _check_room(self, listing: Listing, here: dict[str, int]) -> None:
        missing = sum(file.size for file in listing.files) - sum(here.values())
        needed = missing + self._transport.policy.spare_bytes
        free = shutil.disk_usage(self._staging).free
        if missing and free < needed:
            raise DiskFullError(
                f"{listing.repository} needs {needed / 1e9:.1f} GB of room, "
                f"{free / 1e9:.1f} GB are free on the disk of {self._staging.parent.parent}",
                hint="make room, or set LFM2CHAT_HOME to a folder on another disk",
            )

    def _check(self, check: Callable[[], object]) -> None:
        """Run ``check`` over the files; what it refuses is not kept: it would stay refused."""
        try:
            check()
        except ModelError:
            shutil.rmtree(self._staging, ignore_errors=True)
            raise

    def _install(self, listing: Listing, records: dict[str, FileRecord]) -> None:
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = Manifest(
            listing.repository, listing.revision, listing.commit, moment, files=records
        )
        try:
            manifest.write(self._files)
            _sync_folder(self._files)
            _make_folder(self._folder.parent)
            if self._folder.exists():  # an older commit, or a damaged copy
                self._folder.rename(self._staging / "replaced")
            self._files.rename(self._folder)
            _sync_folder(self._folder.parent)
        except OSError as error:
            raise write_error(error, self._folder) from error
        shutil.rmtree(self._staging, ignore_errors=True)


def _check_weights_hash(listing: Listing) -> None:
    """The hub's own list must name the hash that the catalogue knows: a mirror may lie."""
    card = find_card(listing.repository)
    if card is None or not card.weights_sha256 or listing.commit != card.revision:
        return
    for file in listing.files:
        if file.name == WEIGHTS and file.sha256 != card.weights_sha256:
            raise ChecksumError(
                f"the weights of {listing.repository} at {listing.commit[:12]} are not the ones "
                "that the catalogue knows",
                hint="nothing was fetched; try without the mirror",
            )


def _refuse_foreign(folder: Path, repository: str) -> None:
    """Never replace a folder that no pull of this repository has made."""
    manifest = read_manifest(folder)
    if folder.exists() and (manifest is None or manifest.repository != repository):
        raise ModelError(
            f"{folder} exists already, and no pull of {repository} has made it",
            hint="use it as it is, or move it away and pull again",
        )


def _make_folder(folder: Path) -> None:
    """Make ``folder`` and what is missing above it, for the user alone; leave others as they are.

    Raises:
        ModelError: It cannot be made.
    """
    try:
        for path in reversed([folder, *folder.parents]):
            if not path.exists():
                path.mkdir(mode=_PRIVATE_DIR, exist_ok=True)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        raise write_error(error, folder) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make names durable; a system that cannot open folders (Windows) does so by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
