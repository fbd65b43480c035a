//! The words that bash and zsh do not look up as programs, and what each does with its operands. A word that is
//! not in these lists is a program or a function: its operands are data.

use super::dialect::Dialect;

/// What a command does with its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operands {
    /// They are data.
    Data,
    /// They are evaluated as names, numbers or code.
    Evaluated,
    /// The command or another such word follows.
    Prefix,
    /// Names, and names with values.
    Declaration,
    /// `printf`: a format, and data.
    Format,
    /// zsh: `print`, whose operands are data after `--`.
    Print,
    /// zsh: `set`, whose operands are data after `--`.
    Parameters,
    /// `[` and `test`.
    Test,
    /// `[[`.
    Condition,
    /// `for` and `select`: names, and data after `in`.
    Loop,
    /// `case`: data, and patterns after `in`.
    Case,
    /// `function` and `coproc`: names, before `{`.
    Names,
}

/// Words before a command.
const PREFIXES: &str =
    "if then elif else fi do done while until esac ! { } ]] time command builtin exec";
const ZSH_PREFIXES: &str = "noglob nocorrect - end always";

const DECLARATIONS: &str = "declare typeset local readonly export";
const ZSH_DECLARATIONS: &str = "private";

/// Builtins whose operands are data.
#[cfg(test)]
const DATA: &str = ": . source true false echo pwd cd pushd exit return break continue shift logout kill umask ulimit \
     type hash set";
/// zsh evaluates the numbers of exit, return, break, continue, shift and logout. The last ones are builtins only
/// with a module.
#[cfg(test)]
const ZSH_DATA: &str = ": . source true false echo pwd cd chdir pushd kill umask ulimit limit unlimit type hash which whence \
     where log chgrp chmod chown ln mkdir mv rm rmdir sync zf_chgrp zf_chmod zf_chown zf_ln zf_mkdir zf_mv \
     zf_rm zf_rmdir zf_sync stat cap clone example";

const EVALUATED: &str = "alias bg bind caller compgen complete compopt dirs disown enable eval fc fg getopts help \
     history jobs let mapfile popd read readarray shopt suspend times trap unalias unset wait";
const ZSH_EVALUATED: &str = "alias autoload bg bindkey break bye comparguments compadd compcall compctl compdescribe compfiles \
     compgroups compquote compset comptags comptry compvalues continue dirs disable disown echotc \
     echoti emulate enable eval exit fc fg float functions getcap getln getopts history integer jobs let \
     logout popd pushln r read rehash repeat return sched setcap setopt shift strftime suspend syserror \
     sysopen sysread sysseek syswrite times trap ttyctl unalias unfunction unhash unset unsetopt vared wait \
     zcompile zcurses zdelattr zformat zftp zgdbmpath zgetattr zle zlistattr zmodload zparseopts zprof zpty \
     zregexparse zselect zsetattr zsocket zstat zstyle zsystem ztcp ztie zuntie";

/// The commands that a text may hide in a variable: `r=read; $r {}`.
const HIDEABLE: &str = "compgen declare eval float getln getopts integer let local mapfile print read readarray readonly trap \
     typeset unset vared zparseopts";

/// Variables that the shell itself uses: as numbers, as code or for the names of commands.
const SPECIAL: &str = "BASHPID BASH_ALIASES BASH_ARGV0 BASH_CMDS BASH_COMPAT BASH_ENV DIRSTACK ENV EUID FUNCNAME FUNCNEST GROUPS \
     HISTCMD LINENO MAILPATH OPTIND PIPESTATUS PPID PROMPT_COMMAND PS0 PS1 PS2 PS3 PS4 RANDOM SECONDS SRANDOM UID";
const ZSH_SPECIAL: &str = "ARGC COLUMNS EGID ENV BASH_ENV ERRNO EUID FPATH FUNCNEST GID HISTCMD HISTSIZE KEYTIMEOUT LINENO LINES LISTMAX \
     LOGCHECK MAILCHECK MAILPATH MODULE_PATH NULLCMD OPTIND POSTEDIT PPID PROMPT PROMPT2 PROMPT3 PROMPT4 PROMPT_EOL_MARK \
     PS1 PS2 PS3 PS4 RANDOM READNULLCMD RPROMPT RPROMPT2 RPS1 RPS2 SAVEHIST SECONDS SHLVL SPROMPT TMOUT \
     TRY_BLOCK_ERROR TRY_BLOCK_INTERRUPT TTYIDLE UID USERNAME ZSH_SUBSHELL aliases argv builtins commands \
     dis_aliases dis_functions fpath functions galiases mailpath module_path options prompt saliases status";

/// The options of a declaration that leave a value data.
const PLAIN_OPTIONS: &[u8] = b"-+rxgluU";

/// The operators of `[[ … ]]` that take text or a file, without their dashes.
const PLAIN_OPERATORS: &str = "a b c d e f g h k n o p r s u w x z G L N O S nt ot ef";

fn has(list: &str, word: &[u8]) -> bool {
    list.split(' ').any(|known| known.as_bytes() == word)
}

/// What the command of this name does with its operands.
pub(super) fn of(command: &[u8], dialect: Dialect) -> Operands {
    let is_zsh = dialect == Dialect::Zsh;
    let has_also = |list: &str, zsh: &str| has(list, command) || (is_zsh && has(zsh, command));
    match command {
        b"[[" => Operands::Condition,
        b"[" | b"test" => Operands::Test,
        b"printf" => Operands::Format,
        b"for" | b"select" => Operands::Loop,
        b"case" => Operands::Case,
        b"function" | b"coproc" => Operands::Names,
        b"foreach" if is_zsh => Operands::Loop,
        b"print" if is_zsh => Operands::Print,
        b"set" if is_zsh => Operands::Parameters,
        _ if has_also(PREFIXES, ZSH_PREFIXES) => Operands::Prefix,
        _ if has_also(DECLARATIONS, ZSH_DECLARATIONS) => Operands::Declaration,
        _ if has(if is_zsh { ZSH_EVALUATED } else { EVALUATED }, command) => Operands::Evaluated,
        _ => Operands::Data,
    }
}

/// Whether a text may hide this command in a variable.
pub(super) fn is_hideable(word: &[u8]) -> bool {
    has(HIDEABLE, word)
}

/// Whether the variables that are the operands of this command become numbers.
pub(super) fn makes_numbers(command: &[u8], dialect: Dialect) -> bool {
    dialect == Dialect::Zsh && has("integer float let", command)
}

/// Whether a format of zsh's printf has no conversions but those of text.
pub(super) fn is_of_text(format: &[u8]) -> bool {
    let mut parts = format.split(|byte| *byte == b'%').skip(1);
    while let Some(part) = parts.next() {
        match part.first() {
            Some(b's' | b'b' | b'c' | b'q') => {}
            // `%%`
            None if parts.next().is_some() => {}
            _ => return false,
        }
    }
    true
}

/// Whether these options leave the operands of zsh's print data.
pub(super) fn is_plain_print(word: &[u8]) -> bool {
    word.iter().all(|byte| b"-rnlNcoOiaDR".contains(byte))
}

/// Whether these options leave the operands of zsh's set data.
pub(super) fn is_plain_set(word: &[u8]) -> bool {
    word.iter().all(|byte| b"-+eux".contains(byte))
}

/// Whether the shell itself uses the variable of this name.
pub(super) fn is_special(name: &[u8], dialect: Dialect) -> bool {
    has(if dialect == Dialect::Zsh { ZSH_SPECIAL } else { SPECIAL }, name)
}

/// Whether a declaration with this option leaves a value data.
pub(super) fn is_plain_option(word: &[u8]) -> bool {
    word.iter().all(|byte| PLAIN_OPTIONS.contains(byte))
}

/// Whether a word of `[[ … ]]` may be an operator for numbers or names of variables.
pub(super) fn evaluates(word: &[u8]) -> bool {
    let name =
        word.strip_prefix(b"-").filter(|name| name.first().is_some_and(u8::is_ascii_alphabetic));
    name.is_some_and(|name| !has(PLAIN_OPERATORS, name))
}

/// The name that an assignment begins with.
pub(super) fn assigned_name(word: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b'=', word)?;
    let name = word[..end].strip_suffix(b"+").unwrap_or(&word[..end]);
    let is_name = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    (is_name && name.first().is_some_and(|first| !first.is_ascii_digit())).then_some(name)
}

/// Whether this list or another has the word, so that nobody forgets a builtin.
#[cfg(test)]
pub(super) fn is_known(word: &[u8], dialect: Dialect) -> bool {
    let data = if dialect == Dialect::Zsh { ZSH_DATA } else { DATA };
    of(word, dialect) != Operands::Data || has(data, word) || word == b"in"
}

/// Builtins whose operands are said to be data.
#[cfg(test)]
pub(super) fn data(dialect: Dialect) -> impl Iterator<Item = &'static str> {
    let list = if dialect == Dialect::Zsh { ZSH_DATA } else { DATA };
    list.split(' ')
}
