/** The calls that move folders, by their names in an address. */
export type FolderCallKind = 'tree' | 'stat' | 'entries' | 'comparisons' | 'removals' | 'chunks' | 'ranges' | 'patches'

/** The address of a call for an absolute path in the session. */
export type FolderCall = (kind: FolderCallKind, path: string) => Promise<string>

/** The same for one folder. */
export type CallOfFolder = (kind: FolderCallKind) => Promise<string>

/** Names as a request has them: each followed by a NUL. */
export const namesOf = (entries: readonly { path: string }[]): Uint8Array =>
  Buffer.from(entries.map(({ path }) => `./${path}\0`).join(''))
