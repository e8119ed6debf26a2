"""The DCGAN of Keras-GAN."""
