import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { openBlobS3, openFileCache, openSecrets } from '@vm0/backends'
import { openCheckpointStore, type SaveRequest } from '@vm0/checkpoints'
import { diskUse, settle, type Workbench } from './workbench.js'

const program = `
  const [directory] = process.argv.slice(1)
  new (require('s3rver'))({ port: 0, address: '127.0.0.1', silent: true, directory, configureBuckets: [{ name: 'vm0', configs: [] }] })
    .run().then(({ port }) => console.log(port))`

export interface RemoteFigures {
  saveMs: number
  restoreMs: number
  /** Once more on the same host, to another mount. */
  againMs: number
  storedBytes: number
}

/** One tree saved to an S3 server on this machine, compressed and sealed, and restored to a mount where nothing is cached. */
export async function measureRemote(bench: Workbench, manifest: SaveRequest['manifest']): Promise<RemoteFigures> {
  const objects = bench.path('s3')
  await mkdir(objects)
  const server = spawn(process.execPath, ['-e', program, objects], { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const [port] = (await once(createInterface({ input: server.stdout }), 'line')) as [string]
    const secrets = await openSecrets(bench.path('master.json'))
    const open = async (host: string) => {
      const blobs = await openBlobS3({
        endpoint: `http://127.0.0.1:${port}`,
        bucket: 'vm0',
        credentials: { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' },
        cache: await openFileCache({ directory: join(bench.path(host), 'objects'), maxBytes: 2 ** 33 }),
      })
      const cache = await openFileCache({ directory: join(bench.path(host), 'layers'), maxBytes: 2 ** 33 })
      return openCheckpointStore({
        blobs,
        scratch: join(bench.path(host), 'scratch'),
        packed: { cache, keysOf: (project) => secrets.keysFor(project) },
      })
    }
    const chain = (await open('host-one')).openChain()
    const saved = await chain.save({ manifest, upper: bench.upper, whileFrozen: (capture) => capture() })
    await chain.close()
    const other = await open('host-two')
    await settle()
    const restore = async (): Promise<number> => {
      const startedMs = performance.now()
      const { unmount } = await bench.mountLayers(await other.layerImages(await other.load(saved.id)))
      const tookMs = performance.now() - startedMs
      await unmount()
      return tookMs
    }
    return {
      saveMs: saved.durationMs,
      restoreMs: await restore(),
      againMs: await restore(),
      storedBytes: await diskUse(objects),
    }
  } finally {
    server.kill('SIGKILL')
  }
}
