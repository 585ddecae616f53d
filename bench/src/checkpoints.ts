import { execFileSync } from 'node:child_process'
import { mkdir, rm } from 'node:fs/promises'
import { availableParallelism, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { openBlobDirectory } from '@vm0/backends'
import { openCheckpointStore, type CheckpointManifest, type SavedCheckpoint } from '@vm0/checkpoints'
import { measureRemote } from './remote.js'
import { diskUse, peakMemoryMiB, resetPeakMemory, timed, Workbench } from './workbench.js'

/** Saving and restoring one tree by checkpoints, restic and `tar | zstd`, in one run, in turn after every change. */
const files = Number(process.argv[2] ?? 100_000)
const rounds = 15
const fileTree = fileURLToPath(new URL('./file-tree.js', import.meta.url))
const restic = { RESTIC_PASSWORD: 'bench', RESTIC_CACHE_DIR: '', RESTIC_REPOSITORY: '' }

const median = (samples: readonly number[]): number =>
  samples.toSorted((a, b) => a - b)[Math.floor(samples.length / 2)] ?? Number.NaN
const ms = (value: number): string => (value < 100 ? value.toFixed(1) : value.toFixed(0))
const mb = (bytes: number): string => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)

const bench = await Workbench.open()
try {
  restic.RESTIC_REPOSITORY = bench.path('restic')
  restic.RESTIC_CACHE_DIR = bench.path('restic-cache')
  const blobs = await openBlobDirectory(bench.path('objects'))
  const store = await openCheckpointStore({ blobs, scratch: bench.path('scratch') })
  const chain = store.openChain()
  const manifest: Omit<CheckpointManifest, 'v' | 'layers' | 'createdAt'> = {
    projectId: 'bench',
    sessionId: 'bench',
    runId: null,
    parent: null,
    cause: 'run',
    outcome: null,
    epoch: 1,
    template: 'sha256:0',
    conversation: null,
  }
  const save = async (): Promise<SavedCheckpoint & { frozenMs: number }> => {
    let frozenMs = 0
    const saved = await chain.save({
      manifest,
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
  const tarAndZstd = (name: string): Promise<number> =>
    timed('sh', ['-c', `tar -C "$1" -c . | zstd -q -1 -T0 -o "$2" -f`, 'sh', bench.live, bench.path(name)])

  await timed(process.execPath, [fileTree, 'make', bench.live, String(files)])
  await timed('sync', ['-f', bench.live])
  const treeBytes = await diskUse(bench.upper)
  await timed('restic', ['init'], restic)

  await resetPeakMemory()
  const first = await save()
  const firstRestic = await timed('restic', ['backup', '-q', bench.live], restic)
  const firstTar = await tarAndZstd('first.tar.zst')
  const afterFirst = { vm0: await diskUse(bench.path('objects')), restic: await diskUse(bench.path('restic')) }

  const increments: { vm0: number; frozen: number; restic: number; tar: number; bytes: number; changed: number }[] = []
  let last = first as SavedCheckpoint
  for (let round = 0; round < rounds; round++) {
    execFileSync(process.execPath, [fileTree, 'change', bench.live, String(files), String(round)])
    const saved = await save()
    last = saved
    increments.push({
      vm0: saved.durationMs,
      frozen: saved.frozenMs,
      bytes: saved.sizeBytes,
      changed: saved.changedFiles,
      restic: round < 5 ? await timed('restic', ['backup', '-q', bench.live], restic) : Number.NaN,
      tar: round < 3 ? await tarAndZstd('next.tar.zst') : Number.NaN,
    })
  }
  const peak = await peakMemoryMiB()
  const remote = await measureRemote(bench, manifest)
  const figure = (key: keyof (typeof increments)[number]): number =>
    median(increments.map((each) => each[key]).filter((value) => !Number.isNaN(value)))

  const images = await store.layerImages(last.manifest)
  const mountMs = performance.now()
  const restored = await bench.mountLayers('restored', images)
  const restoreMs = performance.now() - mountMs
  const plain = bench.path('plain')
  await mkdir(plain)
  const restoreRestic = await timed(
    'restic',
    ['restore', '-q', 'latest', '--target', bench.path('restic-restored')],
    restic,
  )
  const restoreTar = await timed('sh', [
    '-c',
    'zstd -q -d -c "$1" | tar -x -C "$2"',
    'sh',
    bench.path('next.tar.zst'),
    plain,
  ])
  await rm(plain, { recursive: true })
  await timed('cp', ['-a', bench.live, plain])

  const read = async (root: string): Promise<{ find: number; cat: number }> => {
    const find: number[] = []
    const cat: number[] = []
    for (let turn = 0; turn < 4; turn++) {
      find.push(await timed('sh', ['-c', 'find "$1" -type f -printf "%s\\n" | wc -l', 'sh', root]))
      cat.push(await timed('sh', ['-c', 'find "$1" -type f -print0 | xargs -0 cat | wc -c', 'sh', root]))
    }
    // The first turn warms the caches.
    return { find: median(find.slice(1)), cat: median(cat.slice(1)) }
  }
  const layered = await read(restored)
  const onDisk = await read(plain)
  const use = { vm0: await diskUse(bench.path('objects')), restic: await diskUse(bench.path('restic')) }

  const row = (...cells: string[]): void => console.log(`| ${cells.join(' | ')} |`)
  console.log(
    `\n${files} files, ${mb(treeBytes)} MB on disk, about 1% changed per round (${figure('changed')} entries), ${availableParallelism()} cores, ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}, Node ${process.version}\n`,
  )
  row('ms', 'VM0', 'restic', 'tar + zstd -1', 'VM0 / restic', 'bar')
  row('---', '---', '---', '---', '---', '---')
  row(
    'first save',
    ms(first.durationMs),
    ms(firstRestic),
    ms(firstTar),
    (first.durationMs / firstRestic).toFixed(2),
    '≤ 1.0',
  )
  row('of that frozen', ms(first.frozenMs), '–', '–', '–', '–')
  row(
    `incremental save, p50 of ${rounds}`,
    ms(figure('vm0')),
    ms(figure('restic')),
    ms(figure('tar')),
    (figure('vm0') / figure('restic')).toFixed(3),
    '≤ 0.1',
  )
  const frozen = increments.map((each) => each.frozen).toSorted((a, b) => a - b)
  row('of that frozen, p50 (most)', `${ms(median(frozen))} (${ms(frozen.at(-1) ?? 0)})`, '–', '–', '–', '≤ 100 ms')
  row(
    `restore to a working mount, ${images.length} layers`,
    ms(restoreMs),
    ms(restoreRestic),
    ms(restoreTar),
    (restoreMs / restoreRestic).toFixed(3),
    '< 100 ms',
  )
  row(
    'MB stored, first',
    mb(afterFirst.vm0),
    mb(afterFirst.restic),
    mb(await diskUse(bench.path('first.tar.zst'))),
    '–',
    '–',
  )
  row(`MB stored, after ${rounds} rounds (restic: 5)`, mb(use.vm0), mb(use.restic), '–', '–', '–')
  row('MB of one incremental layer, p50', mb(figure('bytes')), '–', '–', '–', '–')
  row(
    'first save to an S3 server, compressed and sealed',
    ms(remote.saveMs),
    ms(firstRestic),
    '–',
    (remote.saveMs / firstRestic).toFixed(2),
    '–',
  )
  row(
    'restore from it, nothing cached',
    ms(remote.restoreMs),
    ms(restoreRestic),
    '–',
    (remote.restoreMs / restoreRestic).toFixed(2),
    '≤ 0.5',
  )
  row('MB stored there', mb(remote.storedBytes), '–', '–', '–', '–')
  console.log()
  row('ms, caches warm', `VM0, ${images.length} layers`, 'plain folder', 'ratio', 'bar')
  row('---', '---', '---', '---', '---')
  row('find, with sizes', ms(layered.find), ms(onDisk.find), (layered.find / onDisk.find).toFixed(2), '≤ 1.5')
  row('cat of all files', ms(layered.cat), ms(onDisk.cat), (layered.cat / onDisk.cat).toFixed(2), '≤ 1.5')
  console.log(`\nMost memory that the saving process had resident: ${peak.toFixed(0)} MiB (bar: 256)`)
  await chain.close()
} finally {
  await bench.close()
}
