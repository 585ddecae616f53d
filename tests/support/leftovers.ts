import { execFile } from 'node:child_process'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const exec = promisify(execFile)

/**
 * What a platform that has ended still holds on this host, one line each: processes, mounts, control groups, links,
 * firewall tables, slots. `directory` is the test platform's own folder.
 */
export async function leftovers(directory: string): Promise<string[]> {
  const installation = (await readFile(join(directory, 'data/installation'), 'utf8')).trim()
  const lines = async (command: string, ...args: string[]): Promise<string[]> =>
    (await exec(command, args, { maxBuffer: 16 * 1024 ** 2 })).stdout.split('\n')
  const found = [
    ...(await processesOf(directory)),
    ...(await lines('cat', '/proc/self/mounts')),
    ...(await lines('find', '/sys/fs/cgroup', '-type', 'd', '-path', '*/vm0/*')),
    ...(await lines('ip', '-br', 'link')),
    ...(await lines('nft', 'list', 'tables')),
    ...(await lines('find', '/run/vm0', '-maxdepth', '1')),
    ...(await lines('grep', '-r', '', '/run/vm0/slots').catch(() => [])),
  ]
  return found.filter((line) => line.includes(installation) || line.includes(directory))
}

/** Processes that were started with the platform's folder in their command line or environment. */
async function processesOf(directory: string): Promise<string[]> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const described = ids.map(async (id) => {
    const read = (name: string): Promise<string> => readFile(`/proc/${id}/${name}`, 'utf8').catch(() => '')
    const command = (await read('cmdline')).replaceAll('\0', ' ')
    return `${command} ${await read('environ')}`.includes(directory)
      ? [`process ${id} of ${directory}: ${command}`]
      : []
  })
  return (await Promise.all(described)).flat()
}
