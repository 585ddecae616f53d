import { execFile } from 'node:child_process'
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { leftovers } from './support/leftovers.js'
import { TestPlatform } from './support/platform.js'

const exec = promisify(execFile)
const repository = join(import.meta.dirname, '..')

let root: string
/** Folders of two users: one has installed `vm0` alone, the other `@vm0/platform` beside it. */
let caller: string
let host: string
let sdkTarball: string

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'vm0-packages-'))
  await chmod(root, 0o755) // a user who is not root gets in, too
  await exec('npm', ['run', 'pack'], { cwd: repository })
  const { version } = JSON.parse(await readFile(join(repository, 'packages/vm0/package.json'), 'utf8')) as Manifest
  sdkTarball = join(repository, `dist-packages/vm0-${version}.tgz`)
  caller = await installed('caller', sdkTarball)
  host = await installed('host', sdkTarball, join(repository, `dist-packages/vm0-platform-${version}.tgz`))
}, 300_000)
afterAll(() => rm(root, { recursive: true, force: true }))

interface Manifest {
  version: string
}
interface Locked {
  hasInstallScript?: boolean
}

async function installed(name: string, ...tarballs: string[]): Promise<string> {
  const folder = join(root, name)
  await mkdir(folder)
  await exec('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', ...tarballs], { cwd: folder })
  return folder
}

/** A command that is expected to fail. */
async function failing(command: string, args: string[], options: { uid?: number } = {}) {
  return exec(command, args, options).then(
    () => expect.unreachable(`${command} ${args.join(' ')} succeeded`),
    (error: unknown) => error as { code: number; stdout: string; stderr: string },
  )
}

test('vm0 is small, and neither it nor what it needs has native code or runs a script when it is installed', async () => {
  expect((await stat(sdkTarball)).size).toBeLessThan(300_000)
  const lock = await readFile(join(caller, 'node_modules/.package-lock.json'), 'utf8')
  const packages = Object.values((JSON.parse(lock) as { packages: Record<string, Locked> }).packages)
  expect(packages.length).toBeLessThanOrEqual(8)
  expect(packages.filter(({ hasInstallScript }) => hasInstallScript)).toEqual([])
  const files = await readdir(join(caller, 'node_modules'), { recursive: true })
  expect(files.filter((path) => /\.node$|(^|\/)binding\.gyp$/.test(path))).toEqual([])
})

test('importing vm0 loads no zod: it is not even there', async () => {
  const program = `import('vm0').then(({ vm0 }) => console.log(typeof vm0.run))`
  expect((await exec(process.execPath, ['--eval', program], { cwd: caller })).stdout).toBe('function\n')
  expect(await readdir(join(caller, 'node_modules'))).not.toContain('zod')
})

test('without the platform, `vm0 up` says how to get it', async () => {
  const { code, stderr } = await failing(join(caller, 'node_modules/.bin/vm0'), ['up'])
  expect([code, stderr]).toEqual([1, expect.stringMatching(/PLATFORM_MISSING.*npm i @vm0\/platform/s)])
})

test('an error of the platform keeps its code and hint in the command', async () => {
  const nobody = 65_534
  const { code, stderr } = await failing(join(host, 'node_modules/.bin/vm0'), ['up'], { uid: nobody })
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^error ROOT_REQUIRED: .*as root/s)])
})

test('an agent runs through a `vm0 up` of the installed packages, which ends without a trace', async () => {
  const keyless = { ANTHROPIC_API_KEY: '', ANTHROPIC_BASE_URL: '' }
  const platform = await TestPlatform.start([], keyless, { vm0: [join(host, 'node_modules/.bin/vm0')] })
  try {
    await copyFile(join(repository, 'examples/quickstart.mjs'), join(host, 'program.mjs'))
    const program = await platform.execute(process.execPath, join(host, 'program.mjs'))
    expect(program).toMatchObject({ status: 0, stderr: '', stdout: expect.stringMatching(/orders\.txt.*\n0\n$/s) })
    expect(await platform.cli('exec', '--', 'wc', '-l', 'orders.txt')).toMatchObject({ stdout: '2 orders.txt\n' })
    expect(await platform.down()).toBe(0)
    expect(await leftovers(platform.directory)).toEqual([])
  } finally {
    await platform.stop()
  }
}, 120_000)

const strictProgram = `
import { createClient, RunError, vm0, type RunResult, type Vm0Event } from 'vm0'

export async function work(): Promise<string> {
  const run = vm0.run({ framework: 'claude-code', prompt: 'x', ifBusy: 'refuse', resources: { memoryMiB: 512 } })
  for await (const event of run) if (event.type === 'tool.finished') show(event.name, event.durationMs)
  const { text, costUsd, session }: RunResult = await run
  const listed: { name: string }[] = await session.files.list()
  return text + costUsd.toFixed(2) + String(listed.length)
}
export const reason = (error: unknown): string | null => (error instanceof RunError ? error.reason : null)
export const cursor = (event: Vm0Event): string => event.cursor
declare function show(name: string, durationMs: number): void

// @ts-expect-error the state of a run is no number
export const state: number = (await createClient().runs.get('id').get()).state
// @ts-expect-error there is no such option
vm0.run({ prompt: 'x', promt: 'y' })
`

test.each([
  ["Node's types", { lib: ['ES2022'], types: ['node'] }],
  ["a browser's types", { lib: ['ES2022', 'DOM', 'DOM.Iterable'], types: [] }],
])('a strict TypeScript program compiles against the installed vm0 with %s', async (_name, environment) => {
  const folder = await mkdtemp(join(caller, 'strict-'))
  const compilerOptions = {
    ...environment,
    typeRoots: [join(repository, 'node_modules/@types')],
    target: 'ES2022',
    module: 'NodeNext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    noEmit: true,
  }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.mts'] }))
  await writeFile(join(folder, 'program.mts'), strictProgram)
  const tsc = join(repository, 'node_modules/.bin/tsc')
  const { stdout } = await exec(tsc, ['-p', folder]).catch((error: unknown) => error as { stdout: string })
  expect(stdout).toBe('')
})
