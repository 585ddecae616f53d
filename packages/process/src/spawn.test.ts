import { spawn as forked } from 'node:child_process'
import { once } from 'node:events'
import { openSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { run, spawn } from './index.js'

const piped = ['pipe', 'pipe', 'pipe'] as const

/** What a program says and how it ends, started by Node or by us. */
async function outcome(start: typeof spawn | typeof forked, command: string, args: string[], options = {}) {
  const child = (start as typeof spawn)(command, args, { stdio: piped, ...options })
  child.stdin.on('error', () => undefined)
  child.stdin.end('said')
  const words = Promise.all([text(child.stdout), text(child.stderr)])
  const order: string[] = []
  for (const name of ['spawn', 'exit', 'close'] as const) child.once(name, () => order.push(name))
  const end = (await once(child, 'close')) as unknown[]
  return { end, order, words: await words, codes: [child.exitCode, child.signalCode] }
}

test.each([
  ['a status', 'sh', ['-c', 'cat; echo no >&2; exit 3'], {}],
  ['a signal', 'sh', ['-c', 'kill -9 $$'], {}],
  ['a folder', 'pwd', [], { cwd: realpathSync(tmpdir()) }],
  ['an environment', 'env', [], { env: { PATH: process.env.PATH, A: 'b=c', UNSET: undefined } }],
  ['no input', 'cat', [], { stdio: ['pipe', 'pipe', 'ignore'] as const }],
  ['signals as a shell has them', 'sh', ['-c', 'grep -E "^Sig(Blk|Ign)" /proc/self/status; yes | head -n 1'], {}],
  ['no more than three descriptors', 'sh', ['-c', 'ls /proc/$$/fd'], {}],
] as const)('%s is as with a fork', async (_what, command, args, options) => {
  openSync('/dev/null', 'r')
  if ('stdio' in options) {
    const child = spawn(command, args, options)
    child.stdin.end('said')
    expect(child.stderr).toBeNull()
    expect(await text(child.stdout)).toBe('said')
    return
  }
  const [ours, nodes] = [
    await outcome(spawn, command, [...args], options),
    await outcome(forked, command, [...args], options),
  ]
  expect(ours).toEqual(nodes)
})

test('a program that is not there, or a folder, is told as an error with a code', async () => {
  await expect(once(spawn('vm0-no-such-program', [], { stdio: piped }), 'close')).rejects.toMatchObject({
    code: 'ENOENT',
  })
  await expect(once(spawn('true', [], { stdio: 'ignore', cwd: '/no/such' }), 'exit')).rejects.toMatchObject({
    code: 'ENOENT',
  })
  await expect(run('false', ['x'])).rejects.toThrow('false x ended with 1: it said nothing')
})

test('one that is detached leads a session of its own; one that is not, does not', async () => {
  const sessionOf = async (detached: boolean) => {
    const child = spawn('sh', ['-c', 'cut -d" " -f6 /proc/$$/stat'], { stdio: ['ignore', 'pipe', 'ignore'], detached })
    return { pid: child.pid, session: Number(await text(child.stdout)) }
  }
  const own = await sessionOf(true)
  expect(own.session).toBe(own.pid)
  const ours = await sessionOf(false)
  expect(ours.session).not.toBe(ours.pid)
})

test('much goes in and comes out; what nobody reads does not keep an end from being told', async () => {
  const much = 'x'.repeat(8 * 1024 ** 2)
  expect(await run('cat', [], much)).toBe(much)
  const unread = spawn('sh', ['-c', 'echo unread'], { stdio: piped })
  expect(await once(unread, 'close')).toEqual([0, null])
})

test('many at once are each told their own end, and one that has ended is not signalled', async () => {
  const codes = Array.from({ length: 60 }, (_, index) => index)
  const children = codes.map((code) => spawn('sh', ['-c', `exit ${code}`], { stdio: 'ignore' }))
  expect(await Promise.all(children.map(async (child) => (await once(child, 'exit'))[0] as number))).toEqual(codes)
  expect(children[0]!.kill()).toBe(false)
  const sleeping = spawn('sleep', ['1000'], { stdio: 'ignore' })
  expect(sleeping.kill()).toBe(true)
  expect(await once(sleeping, 'close')).toEqual([null, 'SIGTERM'])
})

test('a process of Node waits for what it has started, unless it is let go', async () => {
  const program = (more: string) =>
    `import { spawn } from '${new URL('../dist/index.js', import.meta.url).href}'
     const child = spawn('sh', ['-c', 'sleep 0.3'], { stdio: 'ignore' })
     child.once('exit', (code) => console.log('ended', code)); ${more}`
  const say = async (more: string) => run(process.execPath, ['--input-type=module', '-e', program(more)])
  expect(await say('')).toBe('ended 0\n')
  expect(await say('child.unref()')).toBe('')
})

test('the end of the first program is told, however soon it comes', async () => {
  const program = `import { spawn } from '${new URL('../dist/index.js', import.meta.url).href}'
    import { spawn as forked } from 'node:child_process'
    forked('true', { stdio: 'ignore' })
    const child = spawn('true', [], { stdio: 'ignore' })
    setTimeout(() => process.exit(1), 20_000).unref()
    child.once('exit', () => process.exit(0))`
  const once = () => run(process.execPath, ['--input-type=module', '-e', program])
  for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 6 }, once))
})
