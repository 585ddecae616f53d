/**
 * How a big file moves: the session's side tells the pieces of what it has, and is sent the others (`patches`), or is asked
 * for those that are not here (`ranges`).
 */

/** What is asked for a list of pieces. */
export interface ChunkListRequest {
  v: 1
  /** Of the file that is to come there, where one is: how much of it has arrived in an earlier try is told. */
  expected?: string | undefined
}

/** First line of the answer; each line after it is a piece, `[lengthBytes, digest]`; the last is `{ "end": true }`. */
export interface ChunkListHead {
  /** Null where no regular file is. */
  file: { sizeBytes: number; mode: number; modifiedMs: number } | null
  /** Bytes of the expected file that are there from an earlier try. */
  arrivedBytes: number
}

/** A part of a new file: so many bytes of the one that is there, from `at` on, or the next ones of the request. */
export type PatchPart = [from: 'here', lengthBytes: number] | [from: 'there', lengthBytes: number, at: number]

/** The first line of a request to make a file from parts. Behind it follow the bytes of its `here` parts. */
export interface FilePatch {
  v: 1
  /** Of the whole new file, in hex: nothing is put into its place that has another sha256. */
  digest: string
  sizeBytes: number
  mode: number
  modifiedMs: number
  /** Where the parts begin: what is before it has arrived in an earlier try. */
  fromBytes: number
  parts: PatchPart[]
}

/** What is asked of a file: `[at, lengthBytes]` each. The answer is the bytes of all, one after the other. */
export interface FileRanges {
  v: 1
  ranges: [at: number, lengthBytes: number][]
}

/** Files with more pieces are sent whole. */
export const maxChunks = 1_000_000
/** A file that would have to be made of more parts is sent whole. */
export const maxParts = 100_000
/** Of a request's first line. */
export const maxPatchLineBytes = 4 * 1024 ** 2
