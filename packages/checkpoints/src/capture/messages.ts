import type { EarlierLayer } from './earlier-files.js'
import type { LayerReference } from '../store.js'

export interface CaptureTask {
  /** The root of the upper; nothing below it is followed through a link. */
  upper: string
  /** File of what the last checkpoint saved; null when there was none. */
  index: string | null
  /** What there is of the layers below, the topmost first: blocks of theirs are not stored once more. */
  earlier: readonly EarlierLayer[]
  /** Files that the capture makes: the layer, and the index for the next one. */
  image: string
  nextIndex: string
  /** Paths from the upper's root: where nothing else has changed, nothing has. */
  ignored: readonly string[]
}

export interface CapturedLayer {
  reference: LayerReference
  /** Entries that are new or changed, and names that are gone; directories apart. */
  changedEntries: number
}

/** From the thread: all is copied that can be while the sandbox goes on; the instant is taken; the files are complete (no layer where nothing changed). */
export type CaptureMessage = { type: 'ready' } | { type: 'captured' } | { type: 'done'; layer: CapturedLayer | null }
