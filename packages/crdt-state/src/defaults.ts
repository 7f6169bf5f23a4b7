/** Every number of this package that a person might tune, with its reason. */
export const stateDefaults = {
  /** One saved document. In base64 it must fit into one mesh message (8 MiB); 1,000 edits take 10 KB. */
  maxDocumentBytes: 4 * 1024 * 1024,
  /** One record: 1,000 tasks of 600 bytes, twice over. */
  maxRecordBytes: 2 * 1024 * 1024,
  /** Removed resources whose last document is kept for `restore`. Newest stay. */
  graveyardMax: 200,
  /** Versions of one document, besides those of its history, that a client's stale update may refer to. */
  recentVersionsMax: 32,
  /** Messages merged (1 ms each) before they are committed and the event loop is let go. */
  messagesPerCommit: 64,
  /** Actors that a tombstone names; a document written by more nodes than this reports edits less precisely. */
  tombstoneClockMax: 64,
  /** Higher epochs of its own that a node jumps past in one life: peers that hold older lives are few, a clone never ends. */
  epochJumpsMax: 8,
  /** Writes after which a node whose disk remembered no epoch takes its guessed one for its own. */
  guessedEpochWritesMax: 10_000,
  /** A peer's record is a cache: it is put on disk with each whole record and with every so many deltas. */
  deltasPerCachedRecord: 32,
  /** Objects waiting in `Storage.cache` before they are written without waiting for a commit. */
  cachedWritesMax: 1_024,
  /** How long cached writes wait for a commit to ride on. */
  cacheFlushMs: 1_000,
  /** Releases that one going back names: so many in a row, none of which was completed, are no release but an accident. */
  releasesUndoneMax: 32,
  /** Damaged databases kept beside the good one, for whoever wants to look at them. */
  setAsideFilesMax: 5,
} as const
