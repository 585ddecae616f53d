import { createHash } from 'node:crypto'
import { createReadStream, readSync } from 'node:fs'

/** `sha256:` and the hex digest of a file. */
export async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 ** 2 })) hash.update(chunk as Buffer)
  return `sha256:${hash.digest('hex')}`
}

/** The same of an open file, in a thread that may block. */
export function digestOfFd(fd: number): string {
  const hash = createHash('sha256')
  const buffer = Buffer.alloc(1024 ** 2)
  let position = 0
  for (let count = 0; (count = readSync(fd, buffer, 0, buffer.length, position)) > 0; position += count)
    hash.update(buffer.subarray(0, count))
  return `sha256:${hash.digest('hex')}`
}

export const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/** The names under which the store keeps objects: plain layers and manifests by digest, packed layers by project and digest. */
export const objectName = (kind: 'layers' | 'manifests', digest: string): string =>
  `${kind}/${digest.replace(':', '-')}`
export const packName = (projectId: string, digest: string): string => `packs/${projectId}/${digest.replace(':', '-')}`
/** Where the store tells of a version of a template. */
export const documentName = ({
  projectId,
  name,
  version,
}: {
  projectId: string
  name: string
  version: number
}): string => `templates/${projectId}/${name}/${version}`
/** The checkpoint whose manifest an object is. */
export const manifestOf = (name: string): string | undefined => {
  const hex = /^manifests\/sha256-([0-9a-f]{64})$/.exec(name)?.[1]
  return hex && `sha256:${hex}`
}
