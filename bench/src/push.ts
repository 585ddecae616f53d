import { execFile, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startScriptedModel } from '@vm0/testkit'
import { createClient, type Session } from 'vm0'
import { CountingProxy } from './counting-proxy.js'
import { benchEdits, benchHugeFile } from './large-file.js'
import { startPlatform } from './local-platform.js'
import { median } from './statistics.js'

/** Pushing and pulling what differs, beside sending all of it as a tar: `npm run bench:push [-- FILES ROUNDS MIB]`. */
const exec = promisify(execFile)
const [files = 100_000, rounds = 5, fileMiB = 1024] = process.argv.slice(2).map(Number)
const fileTree = fileURLToPath(new URL('./file-tree.js', import.meta.url))
const directory = await mkdtemp(join(tmpdir(), 'vm0-push-'))
const tree = join(directory, 'tree')
const remote = '/workspace/tree'
const ms = (value: number): string => value.toFixed(0)
const mb = (bytes: number): string => (bytes / 1e6).toFixed(1)

async function timed<T>(work: () => Promise<T>): Promise<{ result: T; ms: number }> {
  const startedMs = performance.now()
  const result = await work()
  return { result, ms: performance.now() - startedMs }
}

const model = await startScriptedModel([])
const platform = await startPlatform(model.url, ['--warm', '0'])
// Set only now: the platform keeps its template in the same place.
process.env.XDG_CACHE_HOME = join(directory, 'cache')
const proxy = await CountingProxy.start(platform.url)
const counted = createClient({ url: proxy.url, apiKey: platform.apiKey })

/** What there was before: all of the folder in one archive, made by tar, which is faster at it than any library. */
async function sendTar(session: Session): Promise<void> {
  const tar = spawn('tar', ['-c', '-C', tree, '-f', '-', '.'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const response = await fetch(`${platform.url}/v1/sessions/${session.id}/tree/workspace/whole`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${platform.apiKey}`, 'content-type': 'application/x-tar' },
    body: Readable.toWeb(tar.stdout),
    duplex: 'half',
    redirect: 'error',
    window: null,
  } as unknown as RequestInit)
  if (!response.ok) throw new Error(`the tar was answered with ${response.status}: ${await response.text()}`)
}

try {
  await exec(process.execPath, [fileTree, 'make', tree, String(files)])
  const { stdout } = await exec('du', ['-sb', '--apparent-size', tree])
  const treeBytes = Number(stdout.split('\t')[0])
  const fresh = async (): Promise<Session> => {
    const session = await platform.client.sessions.create({ resources: { diskMiB: 20_480 } })
    await session.exec('true')
    return session
  }
  // Into nothing, each in a session of its own, so that both meet a file system that has not grown yet.
  const streamed = await fresh()
  const firstTar = await timed(() => sendTar(streamed))
  await streamed.delete()
  const session = await fresh()
  const first = await timed(() => session.files.upload(tree, remote))
  const learning = await timed(() => session.files.upload(tree, remote))
  const unchanged = await timed(() => session.files.upload(tree, remote))
  const pushes: { push: number; pull: number; tar: number; wire: number; bytes: number; files: number }[] = []
  for (let round = 0; round < rounds; round++) {
    await exec(process.execPath, [fileTree, 'change', tree, String(files), String(round)])
    const through = round % 2 === 0
    const target = through ? counted.sessions.get(session.id) : session
    const before = proxy.bytes
    const push = await timed(() => target.files.upload(tree, remote, { delete: true }))
    const wire = proxy.bytes - before
    // Everything once more, into a folder of its own: it replaces what is there, as a push without comparison does.
    const tar = round < 3 ? (await timed(() => sendTar(session))).ms : Number.NaN
    await session.exec(
      `cd ${remote} && find . -name '*.js' | awk 'NR % 100 == ${round}' | xargs sh -c 'for f; do echo more >>$f; done' sh`,
    )
    const pull = await timed(() => session.files.download(remote, tree))
    const { bytes, files: sent } = push.result
    pushes.push({ push: push.ms, pull: pull.ms, tar, wire: through ? wire : Number.NaN, bytes, files: sent })
  }
  const figure = (key: keyof (typeof pushes)[number]): number =>
    median(pushes.map((each) => each[key]).filter((value) => !Number.isNaN(value)))
  const row = (...cells: string[]): void => console.log(`| ${cells.join(' | ')} |`)
  console.log(
    `\n${files} files, ${mb(treeBytes)} MB, about 1% changed per round (${figure('files')} files, ${mb(figure('bytes'))} MB), ${availableParallelism()} cores, ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}, Node ${process.version}\n`,
  )
  row('ms', 'VM0', 'tar of all', 'tar / VM0', 'bar')
  row('---', '---', '---', '---', '---')
  row('first push, into nothing', ms(first.ms), ms(firstTar.ms), (firstTar.ms / first.ms).toFixed(1), '≥ 1')
  row('second push, both sides read all once', ms(learning.ms), '–', '–', '–')
  row('push, nothing changed', ms(unchanged.ms), '–', '–', '–')
  row(
    `push, 1% changed, p50 of ${rounds}`,
    ms(figure('push')),
    ms(figure('tar')),
    (figure('tar') / figure('push')).toFixed(1),
    '≥ 10',
  )
  row(`pull, 1% changed in the session, p50 of ${rounds}`, ms(figure('pull')), '–', '–', '–')
  console.log(
    `\nOn the wire, both ways, of a push of ${mb(figure('bytes'))} MB: ${mb(figure('wire'))} MB, ${((figure('wire') / treeBytes) * 100).toFixed(2)}% of the tree.`,
  )

  await benchEdits({ directory, session: counted.sessions.get(session.id), proxy }, fileMiB * 1024 ** 2)
  await benchHugeFile({ directory, session }, 5 * fileMiB * 1024 ** 2)
} finally {
  await proxy.close()
  await platform.close()
  await model.close()
  await rm(directory, { recursive: true, force: true })
}
