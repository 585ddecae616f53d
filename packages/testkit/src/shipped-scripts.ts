import { readFileSync } from 'node:fs'
import { scriptSchema, type Script } from './script.js'

/** What the scripted model answers to the prompts of `npm run quickstart`. */
export function quickstartScript(): Script {
  return shipped('quickstart')
}

/** What the scripted model answers to the prompts of the README and of examples/. */
export function examplesScript(): Script {
  return shipped('examples')
}

function shipped(name: string): Script {
  return scriptSchema.parse(JSON.parse(readFileSync(new URL(`../scripts/${name}.json`, import.meta.url), 'utf8')))
}
