import { layerOfFiles, type LayerFile } from '../layers/layer-of-files.js'
import { runWorker } from '../run-worker.js'
import type { LayerReference } from '../store.js'
import type { MergedList } from './find.js'
import type { MergeTask } from './worker.js'

/**
 * Makes a layer of the lists of packages that a session has of its own, with what another template has in them; undefined where
 * there are none. `image` is in `folder`. Nothing is mounted.
 */
export async function mergePackageLists(
  task: MergeTask,
  folder: string,
  signal?: AbortSignal,
): Promise<{ paths: string[]; image: string; reference: LayerReference } | undefined> {
  const lists = await runWorker<MergedList[]>(import.meta.url, task, { signal, what: 'merges lists of packages' })
  if (lists.length === 0) return undefined
  const files = lists.map(({ path, text, folders, mode, uid, gid }): LayerFile => {
    // apt keeps what it made of a list for as long as that has the same time.
    const own = { mode, uid, gid, mtime: new Date() }
    return { path, body: Buffer.from(text, 'latin1'), ...own, folders: folders.map(asHeader) }
  })
  return { paths: lists.map(({ path }) => `/${path}`), ...(await layerOfFiles(folder, 'lists', files)) }
}

const asHeader = ({ mode, uid, gid, modifiedMs }: MergedList['folders'][number]) => ({
  mode,
  uid,
  gid,
  mtime: new Date(modifiedMs),
})
