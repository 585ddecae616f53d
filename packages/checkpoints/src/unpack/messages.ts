import type { UnpackTask } from './unpack-content.js'

export interface ThreadTask extends UnpackTask {
  /** What content goes through, in pieces; each is used again once the thread has taken it. */
  pieces: SharedArrayBuffer[]
}

/** To the thread: a piece is filled with so many bytes; there is no more. */
export type ToUnpacker = { piece: number; length: number } | 'end'

/** From the thread: a piece is free again; the digest of what it wrote; why it could not. */
export type FromUnpacker =
  | { type: 'taken'; piece: number }
  | { type: 'done'; digest: string }
  | { type: 'failed'; message: string }
