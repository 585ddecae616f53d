import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Vm0Error } from '@vm0/contract/client'

/** Whether any line may copy from the folder: then it is sent. */
const copies = /^\s*(?:COPY|ADD)\s/im

/** A folder's Dockerfile, and the folder where files of it are copied; undefined where there is none. */
export async function readDockerfile(
  folder: string,
  file?: string,
): Promise<{ dockerfile: string; context?: string } | undefined> {
  const path = file ?? join(folder, 'Dockerfile')
  const dockerfile = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT' && file === undefined) return undefined
    throw new Vm0Error('INVALID_REQUEST', `${path} can't be read: ${cause.message}`, { cause })
  })
  if (dockerfile === undefined) return undefined
  return { dockerfile, ...(copies.test(dockerfile) ? { context: folder } : {}) }
}
