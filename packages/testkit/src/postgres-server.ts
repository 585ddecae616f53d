import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const exec = promisify(execFile)
const user = 'postgres'

export interface PostgresServer {
  /** Of the database `postgres`, as superuser. */
  readonly url: string
  readonly port: number
  /** The URL of a new, empty database. */
  createDatabase(): Promise<string>
  /** Ends it at once; `up` starts it again with what it had committed. */
  down(): Promise<void>
  up(): Promise<void>
  /** Ends it at once and removes its folder. */
  stop(): Promise<void>
}

/** A PostgreSQL of the test's own, on 127.0.0.1 and a free port, in a temporary folder; it ends with this process, however that ends. */
export async function startPostgres(): Promise<PostgresServer> {
  const programs = await findPrograms()
  const { uid, gid } = await idsOf(user)
  const directory = await mkdtemp(join(tmpdir(), 'vm0-postgres-'))
  let server: ChildProcess | undefined
  const down = async (): Promise<void> => {
    if (!server || server.exitCode !== null || server.signalCode !== null) return
    const closed = once(server, 'close')
    server.kill('SIGQUIT')
    await closed
  }
  const stop = async (): Promise<void> => {
    await down()
    await rm(directory, { recursive: true, force: true })
  }
  try {
    await chown(directory, uid, gid)
    const data = join(directory, 'data')
    const as = ['--reuid', String(uid), '--regid', String(gid), '--clear-groups', '--pdeathsig', 'QUIT']
    await exec(
      'setpriv',
      [...as, join(programs, 'initdb'), '-D', data, '-U', user, '--auth=trust', '--no-sync', '-E', 'UTF8'],
      {
        cwd: directory,
        env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8' },
      },
    )
    const port = await freePort()
    const settings = [
      '-h',
      '127.0.0.1',
      '-p',
      String(port),
      '-k',
      directory,
      '-c',
      'fsync=off',
      '-c',
      'max_connections=50',
    ]
    const up = async (): Promise<void> => {
      server = spawn('setpriv', [...as, join(programs, 'postgres'), '-D', data, ...settings], {
        cwd: directory,
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8' },
      })
      await isReady(server)
    }
    await up()
    const url = (database: string): string => `postgres://${user}@127.0.0.1:${port}/${database}`
    let serial = 0
    return {
      url: url('postgres'),
      port,
      async createDatabase() {
        const name = `test_${(serial += 1)}`
        await exec(join(programs, 'createdb'), ['-h', '127.0.0.1', '-p', String(port), '-U', user, name])
        return url(name)
      },
      down,
      up,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function isReady(server: ChildProcess): Promise<void> {
  let words = ''
  const lines = createInterface({ input: server.stderr! })
  for await (const line of lines) {
    words += `${line}\n`
    if (!line.includes('ready to accept connections')) continue
    server.stderr!.resume()
    return
  }
  throw new Error(`PostgreSQL ended before it was ready: ${words}`)
}

async function findPrograms(): Promise<string> {
  const root = '/usr/lib/postgresql'
  const [newest] = (await readdir(root).catch(() => [])).toSorted((a, b) => Number(b) - Number(a))
  if (!newest)
    throw new Error(`no PostgreSQL in ${root}; expected Debian's package postgresql (scripts/setup.sh --tests)`)
  return join(root, newest, 'bin')
}

async function idsOf(name: string): Promise<{ uid: number; gid: number }> {
  const [uid, gid] = await Promise.all([exec('id', ['-u', name]), exec('id', ['-g', name])])
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}
