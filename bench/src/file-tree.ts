import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const filesPerFolder = 100

/** Small whole numbers from a seed: the same tree in every run. */
function generator(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return Math.floor((state / 0x80000000) * below)
  }
}

/** Text that compresses about as source code does. */
function text(random: (below: number) => number, size: number): string {
  const words = Array.from({ length: 4000 }, () => random(2 ** 31).toString(36))
  let made = ''
  while (made.length < size) made += `${words[random(words.length)]}${random(9) === 0 ? '\n' : ' '}`
  return made
}

const pathOf = (root: string, file: number): string => {
  const folder = Math.floor(file / filesPerFolder)
  return join(root, `d${Math.floor(folder / 32)}`, `e${folder}`, `f${file}.js`)
}

/** Sizes as in a folder of dependencies: half below 2 KB, 9 KB on average. */
export function makeTree(root: string, files: number): void {
  const random = generator(7)
  const pool = text(random, 2 ** 21)
  for (let file = 0; file < files; file++) {
    if (file % filesPerFolder === 0) mkdirSync(join(pathOf(root, file), '..'), { recursive: true })
    const size = Math.min(500_000, Math.floor(120 * Math.exp((random(10_000) / 10_000) ** 0.8 * 6.1)))
    const start = random(pool.length - size)
    writeFileSync(pathOf(root, file), pool.slice(start, start + size))
  }
}

/** One change in a hundred files: nine in ten are written to, the others are replaced by a new file. */
export function changeTree(root: string, files: number, round: number): void {
  const random = generator(1000 + round)
  for (let change = 0; change < files / 100; change++) {
    const path = pathOf(root, random(files))
    if (change % 10 !== 0) appendFileSync(path, `// round ${round}, change ${change}\n`)
    else {
      rmSync(path, { force: true })
      writeFileSync(`${path}.${round}.new`, text(random, 3000))
    }
  }
}

// A process of its own, so that the bench's memory is that of what it measures.
const [, script, what, root, ...numbers] = process.argv
if (script?.endsWith('file-tree.js') && root) {
  const [files = 0, round = 0] = numbers.map(Number)
  if (what === 'make') makeTree(root, files)
  else changeTree(root, files, round)
}
