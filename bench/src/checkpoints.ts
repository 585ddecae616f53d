import { availableParallelism, release, totalmem } from 'node:os'
import { openBlobDirectory } from '@vm0/backends'
import { openCheckpointStore, type SavedCheckpoint } from '@vm0/checkpoints'
import { newManifest, Tree } from './checkpoint-tree.js'
import { Peers } from './peers.js'
import { measureRemote, type RemoteFigures } from './remote.js'
import { median } from './statistics.js'
import { diskUse, peakMemoryMiB, resetPeakMemory, timed, Workbench } from './workbench.js'

/**
 * Saving and restoring one tree by checkpoints, restic and `tar | zstd`, in one run, in turn after every change: `[files] [case…]`,
 * where a case is `save`, `restore` (from a folder), `s3`, `read`, or `peers`: what restic and tar take for the others. All by default.
 */
const cases = ['save', 'restore', 's3', 'read', 'peers'] as const
type Case = (typeof cases)[number]
const words = process.argv.slice(2).filter((word) => !/^\d+$/.test(word))
const unknown = words.find((word) => !cases.includes(word as Case))
if (unknown !== undefined) throw new Error(`no case ${unknown}: expected some of ${cases.join(', ')}`)
const wanted = (name: Case): boolean => words.length === 0 || words.includes(name)
const files = Number(process.argv.slice(2).find((word) => /^\d+$/.test(word)) ?? 100_000)
const rounds = 15
const restores = 9

const ms = (value: number): string => (Number.isNaN(value) ? '–' : value < 100 ? value.toFixed(1) : value.toFixed(0))
const mb = (bytes: number): string => (Number.isNaN(bytes) ? '–' : (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0))
const share = (a: number, b: number): string => (Number.isNaN(a / b) ? '–' : (a / b).toFixed(a / b < 0.2 ? 3 : 2))
const row = (...cells: string[]): void => console.log(`| ${cells.join(' | ')} |`)
const p50 = (values: readonly number[]): number => median(values.filter((value) => !Number.isNaN(value)))

const bench = await Workbench.open()
try {
  const tree = new Tree(bench, files)
  const peers = new Peers(bench, wanted('peers'))
  const blobs = await openBlobDirectory(bench.path('objects'))
  const store = await openCheckpointStore({ blobs, scratch: bench.path('scratch') })
  const chain = store.openChain()
  const save = async (): Promise<SavedCheckpoint & { frozenMs: number }> => {
    let frozenMs = 0
    const saved = await chain.save({
      manifest: newManifest,
      upper: bench.upper,
      async whileFrozen(capture) {
        const startedMs = performance.now()
        await capture()
        frozenMs = performance.now() - startedMs
      },
    })
    chain.committed(saved)
    return { ...saved, frozenMs }
  }

  await tree.make()
  const treeBytes = await diskUse(bench.upper)
  await peers.begin()
  console.log(
    `\n${files} files, ${mb(treeBytes)} MB on disk, ${availableParallelism()} cores, ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}, Node ${process.version}\n`,
  )
  row('ms', 'VM0', 'restic', 'tar + zstd -1', 'VM0 / restic', 'bar')
  row('---', '---', '---', '---', '---', '---')

  await resetPeakMemory()
  let last: (SavedCheckpoint & { frozenMs: number }) | undefined
  let firstRestic = Number.NaN
  if (wanted('save') || wanted('restore') || wanted('read')) {
    last = await save()
    firstRestic = await peers.resticSave()
    const tar = await peers.tarSave()
    row('first save', ms(last.durationMs), ms(firstRestic), ms(tar), share(last.durationMs, firstRestic), '≤ 1.0')
    row('of that frozen', ms(last.frozenMs), '–', '–', '–', '–')
    const stored = await diskUse(bench.path('objects'))
    row('MB stored, first', mb(stored), mb(await peers.resticBytes()), mb(await peers.tarBytes()), '–', '–')

    const increments: { vm0: number; frozen: number; restic: number; tar: number; bytes: number; changed: number }[] =
      []
    for (let round = 0; round < rounds; round++) {
      tree.change(round)
      const saved = await save()
      last = saved
      increments.push({
        vm0: saved.durationMs,
        frozen: saved.frozenMs,
        bytes: saved.sizeBytes,
        changed: saved.changedFiles,
        restic: round < 5 ? await peers.resticSave() : Number.NaN,
        tar: round < 3 ? await peers.tarSave() : Number.NaN,
      })
    }
    const figure = (key: keyof (typeof increments)[number]): number => p50(increments.map((each) => each[key]))
    row(
      `incremental save of ${figure('changed')} entries, p50 of ${rounds}`,
      ms(figure('vm0')),
      ms(figure('restic')),
      ms(figure('tar')),
      share(figure('vm0'), figure('restic')),
      '≤ 0.1',
    )
    const frozen = increments.map((each) => each.frozen)
    const most = Math.max(...frozen)
    row('of that frozen, p50 (most)', `${ms(figure('frozen'))} (${ms(most)})`, '–', '–', '–', '≤ 100 ms')
    row('MB of one incremental layer, p50', mb(figure('bytes')), '–', '–', '–', '–')
    const after = await diskUse(bench.path('objects'))
    row(`MB stored, after ${rounds} rounds (restic: 5)`, mb(after), mb(await peers.resticBytes()), '–', '–', '–')
    row('MiB resident at most while saving', (await peakMemoryMiB()).toFixed(0), '–', '–', '–', '≤ 256')
  } else if (wanted('s3')) firstRestic = await peers.resticSave()

  let remote: RemoteFigures | undefined
  if (wanted('s3')) {
    await resetPeakMemory()
    remote = await measureRemote(bench, newManifest)
  }
  const remotePeak = await peakMemoryMiB()

  const mounts: number[] = []
  let restored: Awaited<ReturnType<Workbench['mountLayers']>> | undefined
  if (last && (wanted('restore') || wanted('read'))) {
    for (let turn = 0; turn < restores; turn++) {
      await restored?.unmount()
      const startedMs = performance.now()
      restored = await bench.mountLayers(await store.layerImages(await store.load(last.id)))
      mounts.push(performance.now() - startedMs)
    }
  }
  const restic = await peers.resticRestore()
  if (last && wanted('restore')) {
    row(
      `restore to a working mount, ${last.manifest.layers.length} layers, p50 of ${restores} (first)`,
      `${ms(p50(mounts))} (${ms(mounts[0] ?? Number.NaN)})`,
      ms(restic),
      ms(await peers.tarRestore()),
      share(p50(mounts), restic),
      '< 100 ms',
    )
  }
  if (remote) {
    const { saveMs, restoreMs, againMs, storedBytes } = remote
    const name = 'first save to an S3 server, compressed and sealed'
    row(name, ms(saveMs), ms(firstRestic), '–', share(saveMs, firstRestic), '–')
    row('restore from it, nothing cached', ms(restoreMs), ms(restic), '–', share(restoreMs, restic), '≤ 0.5')
    row('the same again, from the cache', ms(againMs), '–', '–', '–', '–')
    row('MiB resident at most', remotePeak.toFixed(0), '–', '–', '–', '≤ 256')
    row('MB stored there', mb(storedBytes), '–', '–', '–', '–')
  }

  if (last && restored && wanted('read')) {
    const plain = bench.path('plain')
    await timed('cp', ['-a', bench.live, plain])
    // As in a sandbox, where root is the owner of what it reads.
    const read = async (root: string, owner: number): Promise<{ find: number; cat: number }> => {
      const as = [`--reuid=${owner}`, `--regid=${owner}`, '--clear-groups', 'sh', '-c']
      const find: number[] = []
      const cat: number[] = []
      for (let turn = 0; turn < 6; turn++) {
        find.push(await timed('setpriv', [...as, 'find "$1" -type f -printf "%s\\n" | wc -l', 'sh', root]))
        cat.push(await timed('setpriv', [...as, 'find "$1" -type f -print0 | xargs -0 cat | wc -c', 'sh', root]))
      }
      // The first turn warms the caches.
      return { find: median(find.slice(1)), cat: median(cat.slice(1)) }
    }
    const layered = await read(restored.root, restored.owner)
    const onDisk = await read(plain, 0)
    console.log()
    row('ms, caches warm', `VM0, ${last.manifest.layers.length} layers`, 'plain folder', 'ratio', 'bar')
    row('---', '---', '---', '---', '---')
    row('find, with sizes', ms(layered.find), ms(onDisk.find), (layered.find / onDisk.find).toFixed(2), '≤ 1.5')
    row('cat of all files', ms(layered.cat), ms(onDisk.cat), (layered.cat / onDisk.cat).toFixed(2), '≤ 1.5')
  }
  await chain.close()
} finally {
  await bench.close()
}
