import type { Readable } from 'node:stream'

/** How much of a refused file is still read: an answer in the middle of it would be lost with the connection. */
const maxIgnoredBytes = 2 ** 30

export async function readOn(body: Readable): Promise<void> {
  let bytes = 0
  for await (const chunk of body.iterator({ destroyOnReturn: false })) {
    bytes += (chunk as Buffer).length
    if (bytes > maxIgnoredBytes) return
  }
}
