import type { RunView } from '@vm0/contract/client'
import type { Vm0 } from '../client.js'
import { count } from './format.js'

/** More than these are told as more. */
const enough = 1000

/** How many files of /workspace a run left otherwise than it found them, in words; empty where that isn't known. */
export async function changedFiles(client: Vm0, { checkpoint }: RunView): Promise<string> {
  if (!checkpoint) return ''
  let files = 0
  try {
    for await (const { before, after } of client.checkpoints.get(checkpoint).diff()) {
      if ((after ?? before)?.type === 'directory') continue
      files += 1
      if (files > enough) return `more than ${enough} files changed`
    }
  } catch {
    // It only rounds the picture off: the run's end is told in any case.
    return ''
  }
  return `${files === 0 ? 'no files' : count(files, 'file')} changed`
}
