"""The words that client names are made of: short, plain and hard to mistake over the telephone."""

from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ADJECTIVES: Final = _words(
    """
    able agile amber ample azure bold brave brief bright brisk calm candid civil clear clever coral cosy crisp
    daring deft eager early easy fair fine firm fleet fond frank fresh gentle glad golden grand green happy
    hardy honest ideal jolly just keen kind level light lively loyal lucky mellow merry mild modest neat noble
    olive open patient plain polite prompt proud quick quiet rapid ready regal rosy royal rustic sandy sharp
    silent silver sincere sleek smart smooth snowy solid sound spry stable steady still sturdy sunny swift tidy
    true trusty vivid warm wise witty
    """
)

ANIMALS: Final = _words(
    """
    adder albatross alpaca antelope badger beaver bison bittern bobcat buffalo camel caribou cheetah chinook
    cobra condor cormorant cougar coyote crane curlew deer dolphin dove duck eagle egret elk falcon ferret finch
    fox gannet gazelle gecko gibbon goose grouse gull hare hawk heron hornet ibex ibis iguana impala jackal
    jackdaw jaguar kestrel kite koala lark lemur leopard linnet lion llama lynx magpie marmot marten mole moose
    newt ocelot orca oriole osprey otter owl panda panther pelican penguin petrel pigeon plover puffin puma
    quail rabbit raven robin salmon seal shrew skylark snipe sparrow stoat stork swallow swan swift tapir tern
    thrush tiger toucan trout turtle vole walrus weasel wombat woodcock wren yak zebra
    """
)
