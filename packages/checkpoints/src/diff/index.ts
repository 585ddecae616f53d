import type { ImageFiles } from '../erofs/open-images.js'
import type { LayerReference } from '../store.js'
import { runWorker } from '../run-worker.js'
import type { DiffPage, DiffOptions } from './page.js'
import type { DiffTask } from './worker.js'

export type { DiffOptions, DiffPage } from './page.js'

/** A checkpoint as a list of layers over a template, and where their images are. */
export interface Stack {
  template: string
  layers: readonly LayerReference[]
  /** Of the layers, in their order. */
  images: readonly ImageFiles[]
  templateImage: ImageFiles
}

/** What `after` has that `before` has not, or has otherwise. Nothing is mounted, and what both have at the bottom isn't read. */
export function diffStacks(before: Stack, after: Stack, query: DiffOptions, signal?: AbortSignal): Promise<DiffPage> {
  const sameTemplate = before.template === after.template
  let common = 0
  while (sameTemplate && common < before.layers.length && isSame(before, after, common)) common += 1
  const own = ({ images, templateImage }: Stack): ImageFiles[] => [
    ...images.slice(common).toReversed(),
    ...(sameTemplate ? [] : [templateImage]),
  ]
  const shared = [...before.images.slice(0, common).toReversed(), ...(sameTemplate ? [before.templateImage] : [])]
  const task: DiffTask = { before: own(before), after: own(after), shared, query }
  return runWorker<DiffPage>(import.meta.url, task, { signal, what: 'compares checkpoints' })
}

const isSame = (before: Stack, after: Stack, index: number): boolean =>
  before.layers[index]?.digest === after.layers[index]?.digest
