import { homedir } from 'node:os'
import { join } from 'node:path'

const { XDG_DATA_HOME, XDG_CACHE_HOME, XDG_CONFIG_HOME, VM0_CONFIG } = process.env

export const defaultDataDir = join(XDG_DATA_HOME || join(homedir(), '.local/share'), 'vm0')
export const cacheDir = join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'vm0')
/** Address and key for the commands and programs of this user. */
export const configFile = VM0_CONFIG || join(XDG_CONFIG_HOME || join(homedir(), '.config'), 'vm0', 'config.json')
