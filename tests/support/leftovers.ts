import { execFile } from 'node:child_process'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const exec = promisify(execFile)

// What `find` and `grep` meet may vanish meanwhile: other platforms are at work on the same host.
const survey = `
  find /sys/fs/cgroup -type d -path '*/vm0/*'
  find /run/vm0 -maxdepth 1
  grep -r '' /run/vm0/slots
  cat /proc/self/mounts && ip -br link && nft list tables`

/**
 * What a platform that has ended still holds on this host, one line each: processes, mounts, control groups, links,
 * firewall tables, slots. `directory` is the test platform's own folder.
 */
export async function leftovers(directory: string): Promise<string[]> {
  const installation = (await readFile(join(directory, 'data/installation'), 'utf8')).trim()
  const { stdout } = await exec('sh', ['-c', survey], { maxBuffer: 16 * 1024 ** 2 })
  const found = [...(await processesOf(directory)), ...stdout.split('\n')]
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
