{
  'target_defaults': {
    'include_dirs': ["<!(node -p \"require('node-addon-api').include_dir\")"],
    'defines': ['NAPI_VERSION=8', 'NAPI_DISABLE_CPP_EXCEPTIONS'],
    'cflags': ['-Wall', '-Wextra'],
    'configurations': {
      'Release': { 'cflags!': ['-O3'], 'cflags': ['-O2'] },
    },
  },
  'targets': [
    { 'target_name': 'nfqueue', 'sources': ['nfqueue.cc'] },
    { 'target_name': 'probe', 'sources': ['probe.cc'] },
    { 'target_name': 'notify', 'sources': ['notify.cc'] },
    { 'target_name': 'lock', 'sources': ['lock.cc'] },
  ],
}
